package outbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// ClassSourceSilent is the class of the exception of a source that has sent nothing for
// longer than its silent_after. It resolves by itself when the source speaks again.
const ClassSourceSilent = "SOURCE_SILENT"

// Heard remembers when sources last sent something, until a [Sweeper] writes it down: so
// a source costs no row an event. Its methods may be called from many goroutines at once.
type Heard struct {
	mu sync.Mutex
	at map[int32]time.Time
}

// Note that the source has sent something now.
func (h *Heard) Note(source int32) { h.note(source, time.Now()) }

func (h *Heard) note(source int32, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at == nil {
		h.at = make(map[int32]time.Time)
	}
	if at.After(h.at[source]) {
		h.at[source] = at
	}
}

func (h *Heard) take() map[int32]time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.at
	h.at = nil
	return at
}

const (
	watchSourcesSQL = `
UPDATE sources s
   SET silent_after = w.silent_after,
       watched_since = CASE WHEN w.silent_after IS NOT NULL THEN coalesce(s.watched_since, now()) END
  FROM unnest($2::text[], $3::interval[]) AS w(name, silent_after)
 WHERE s.tenant = $1 AND s.name = w.name AND s.silent_after IS DISTINCT FROM w.silent_after`

	// stillListeningSQL: between two words of any process there may be a minute.
	stillListeningSQL = `
INSERT INTO listening (one) VALUES (true)
ON CONFLICT (one) DO UPDATE
  SET still_at = now(), since = CASE WHEN listening.still_at < now() - interval '1 minute' THEN now() ELSE listening.since END`

	heardSQL = `
WITH locked AS MATERIALIZED (
  SELECT id FROM sources WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
)
UPDATE sources s SET heard_at = GREATEST(s.heard_at, now() - h.ago)
  FROM locked JOIN unnest($1::integer[], $2::interval[]) AS h(id, ago) USING (id)
 WHERE s.id = locked.id`

	// silentSQL: what another process has heard, and not written down yet, counts. A silence
	// that a person has put aside stays so until the source is heard again.
	silentSQL = `
SELECT s.tenant, s.id, (extract(epoch FROM s.silent_after) * 1000000)::bigint
  FROM sources s CROSS JOIN listening l
 WHERE s.removed_at IS NULL AND GREATEST(s.heard_at, s.watched_since, l.since) < now() - s.silent_after - $1::interval
   AND NOT EXISTS (SELECT FROM exceptions x WHERE x.class = '` + ClassSourceSilent + `' AND x.destination = 0 AND x.source = s.id AND x.closed_at IS NULL)
   AND NOT EXISTS (SELECT FROM exceptions x WHERE x.class = '` + ClassSourceSilent + `' AND x.destination = 0 AND x.source = s.id AND x.status = 'DISMISSED'
                      AND x.closed_at > GREATEST(s.heard_at, s.watched_since))
 ORDER BY s.id`

	raiseSilentSQL = `
WITH raised AS (
  INSERT INTO exceptions (tenant, class, source, sample) VALUES ($1, '` + ClassSourceSilent + `', $2, $3)
  ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL DO NOTHING
  RETURNING tenant, id, sample
)
INSERT INTO timeline (tenant, exception, what, reason) SELECT tenant, id, 'exception', sample FROM raised`

	resolveSilentSQL = `
WITH resolved AS (
  UPDATE exceptions x SET status = 'RESOLVED', closed_at = now(), version = x.version + 1
    FROM sources s
   WHERE x.class = '` + ClassSourceSilent + `' AND x.closed_at IS NULL AND s.id = x.source
     AND (s.silent_after IS NULL OR s.heard_at > x.opened_at OR s.heard_at > now() - s.silent_after)
  RETURNING x.tenant, x.id, CASE WHEN s.silent_after IS NULL THEN 'its silence is not watched any more' ELSE 'it has spoken again' END AS reason
)
INSERT INTO timeline (tenant, exception, what, reason) SELECT tenant, id, 'resolved', reason FROM resolved`
)

// watchSources puts the silent_after of a configuration in force. Whoever is watched
// newly has all of that time before it, whether or not it ever spoke.
func watchSources(ctx context.Context, tx pgx.Tx, c *Configuration) error {
	names, after := []string{}, []*time.Duration{} // never NULL
	for _, s := range c.Sources {
		names, after = append(names, s.Name), append(after, interval(s.SilentAfter))
	}
	_, err := tx.Exec(ctx, watchSourcesSQL, c.Tenant, names, after)
	return err
}

// Silent writes down what was heard, raises an exception for each source that has fallen
// silent, and resolves those of sources that speak again. Every is how often each process
// calls it, at most a minute: what one of them has heard may be so old before the others
// know, and twice that is what a source is given beyond its silent_after.
func (w *Sweeper) Silent(ctx context.Context, heard *Heard, every time.Duration) error {
	if err := w.writeDown(ctx, heard); err != nil {
		return fmt.Errorf("write down who was heard: %w", err)
	}
	rows, err := w.pool.Query(ctx, silentSQL, 2*every)
	if err != nil {
		return fmt.Errorf("look for silent sources: %w", err)
	}
	type source struct {
		Tenant string
		ID     int32
		After  int64 // microseconds
	}
	silent, err := pgx.CollectRows(rows, pgx.RowToStructByPos[source])
	if err != nil {
		return fmt.Errorf("look for silent sources: %w", err)
	}
	for _, s := range silent {
		reason := fmt.Sprintf("it has sent nothing for more than %s", brief(time.Duration(s.After)*time.Microsecond))
		if _, err := w.pool.Exec(ctx, raiseSilentSQL, s.Tenant, s.ID, reason); err != nil {
			return fmt.Errorf("raise an exception for a silent source: %w", err)
		}
	}
	if _, err := w.pool.Exec(ctx, resolveSilentSQL); err != nil {
		return fmt.Errorf("look for sources that speak again: %w", err)
	}
	return nil
}

func (w *Sweeper) writeDown(ctx context.Context, heard *Heard) error {
	at := heard.take()
	var ids []int32
	var ago []time.Duration
	for id := range at {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		ago = append(ago, time.Since(at[id]))
	}
	batch := &pgx.Batch{}
	batch.Queue(stillListeningSQL)
	if len(ids) > 0 {
		batch.Queue(heardSQL, ids, ago)
	}
	err := w.pool.SendBatch(ctx, batch).Close()
	if err != nil {
		for id, t := range at { // not lost: the next call writes it down
			heard.note(id, t)
		}
	}
	return err
}
