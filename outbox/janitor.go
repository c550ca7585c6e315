package outbox

import (
	"context"
	"errors"
	"fmt"
)

const (
	ensurePartitionsSQL = `SELECT raffsync_ensure_partitions(now(), now() + interval '3 months')`

	summarizeEventsSQL = `SELECT raffsync_summarize_events()`

	// closeWritersSQL leaves a session alone whose start it may not see: another owner's.
	closeWritersSQL = `
UPDATE writers w SET closed_at = now()
 WHERE closed_at IS NULL
   AND NOT EXISTS (SELECT FROM pg_stat_activity a
                    WHERE a.pid = w.backend_pid AND (a.backend_start = w.backend_start OR a.backend_start IS NULL))`

	// forgetWritersSQL: closed for a minute, so that a reader that holds it for open has
	// long learnt better.
	forgetWritersSQL = `
DELETE FROM writers w
 WHERE closed_at < now() - interval '1 minute'
   AND NOT EXISTS (
     SELECT FROM lanes l CROSS JOIN destinations t
      CROSS JOIN LATERAL (SELECT FROM deliveries d WHERE d.lane = l.lane AND d.destination = t.id
                             AND d.seq >= w.writer << 40 AND d.seq < (w.writer + 1) << 40 LIMIT 1) AS open)`

	forgetRequestsSQL = `DELETE FROM operator_requests WHERE at < now() - interval '30 days'`

	pruneDeadSQL = `
DELETE FROM intents i
 WHERE NOT EXISTS (SELECT FROM replicas r WHERE r.id = i.replica)
   AND NOT EXISTS (
     SELECT FROM unnest(i.lanes, i.destinations, i.seqs, i.steps, i.attempts) AS p(lane, destination, seq, step, attempt)
       JOIN deliveries d ON d.lane = p.lane AND d.destination = p.destination AND d.seq = p.seq AND d.step = p.step AND d.requests < p.attempt)`

	// forgetUsesSQL: what a request was made with goes with the events of its time, a part at
	// a time. The ledger of effects and the newest snapshots stay, as ids of events do: what
	// is sent again after that makes no second effect, and takes nothing back.
	forgetUsesSQL = `
DELETE FROM mapping_used WHERE ctid = ANY (ARRAY(
  SELECT u.ctid FROM destinations d
   CROSS JOIN LATERAL (SELECT m.ctid FROM mapping_used m WHERE m.tenant = d.tenant AND m.destination = d.id AND m.at < (SELECT raffsync_events_since()) ORDER BY m.at LIMIT 1000) AS u
   LIMIT 1000))`

	// forgetProcessesSQL: one that was only slow reports all of it again.
	forgetProcessesSQL = `
WITH dead AS (DELETE FROM processes WHERE alive_until < now() - interval '1 minute' RETURNING id)
DELETE FROM configuration_use WHERE process IN (SELECT id FROM dead)`
)

// housekeeping, each a statement that may run on any replica at any time.
var housekeeping = []struct {
	name  string
	admin bool // needs to see other sessions
	sql   string
}{
	{"make partitions", false, ensurePartitionsSQL},
	{"summarize the ordering keys of events", false, summarizeEventsSQL},
	{"close writers whose session is gone", true, closeWritersSQL},
	{"forget writers with nothing open", false, forgetWritersSQL},
	{"prune intents of the dead", false, pruneDeadSQL},
	{"forget what operators asked for long ago", false, forgetRequestsSQL},
	{"forget what was looked up for events that are gone", false, forgetUsesSQL},
	{"forget processes that ended without a word", false, forgetProcessesSQL},
}

// Tidy does the housekeeping once. One failing statement does not keep the others
// from being tried.
func (s *Store) Tidy(ctx context.Context) error {
	var errs []error
	for _, h := range housekeeping {
		pool := s.engine
		if h.admin {
			pool = s.admin
		}
		if _, err := pool.Exec(ctx, h.sql); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.name, err))
		}
	}
	return errors.Join(errs...)
}
