package view

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// A transaction that has begun may still add entries, at the time of its beginning,
// which every reader of later times would miss. So the horizon is the beginning of
// the oldest transaction of any session of ours, by its application name; a stranger's
// holds nothing up. The second is for a session that Postgres has let begin and does
// not show yet.
var horizon = register("horizon", `
SELECT least(now(), min(xact_start)) - interval '1 second'
  FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'raffsync%' AND pid <> pg_backend_pid()`)

// Horizon is a time, by the database's clock, before which the timeline of every
// tenant is complete for whoever reads it afterwards.
//
// What other sessions do is shown only to the role that they belong to, so this one
// question is asked under the session's own role; it touches no tenant's rows.
func (v *View) Horizon(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := pgx.BeginTxFunc(ctx, v.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL ROLE NONE`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, horizon).Scan(&at)
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("read the horizon: %w", err)
	}
	return at.UTC(), nil
}

var (
	entryIDsSince = register("entries since a time", `
(SELECT at, entry FROM timeline WHERE at >= $1 AND (at, entry) > ($1, $2) ORDER BY at, entry LIMIT $3)
UNION ALL
(SELECT at, entry FROM accepted WHERE at >= $1 AND (at, entry) > ($1, $2) ORDER BY at, entry LIMIT $3)
 ORDER BY at, entry LIMIT $3`)

	entriesByID = register("entries by id", `
SELECT `+entryColumns+`
  FROM unnest($1::timestamptz[], $2::bigint[]) AS k(at, entry)
 CROSS JOIN LATERAL (
   SELECT * FROM timeline WHERE k.entry > 0 AND timeline.at = k.at AND timeline.entry = k.entry
   UNION ALL
   SELECT * FROM accepted a WHERE k.entry < 0 AND a.at = k.at AND a.event = k.entry - '-9223372036854775808'::bigint) AS t
  LEFT JOIN destinations n ON n.id = t.destination
 ORDER BY t.at, t.entry`)
)

// FirstEntryAt stands before every entry of that time.
func FirstEntryAt(at time.Time) EntryID { return EntryID{At: at, Entry: math.MinInt64} }

// EntryIDsSince returns the ids of entries after one, in the order of their time, at
// most limit of them.
func (t *Tx) EntryIDsSince(ctx context.Context, after EntryID, limit int) ([]EntryID, error) {
	rows, err := t.tx.Query(ctx, entryIDsSince, after.At, after.Entry, limit)
	if err != nil {
		return nil, fmt.Errorf("read the timeline: %w", err)
	}
	ids, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (EntryID, error) {
		var id EntryID
		err := row.Scan(&id.At, &id.Entry)
		id.At = id.At.UTC()
		return id, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the timeline: %w", err)
	}
	return ids, nil
}

// Entries returns the entries named, in the order of their time.
func (t *Tx) Entries(ctx context.Context, ids []EntryID) ([]*Entry, error) {
	var at []time.Time
	var numbers []int64
	for _, id := range ids {
		at, numbers = append(at, id.At), append(numbers, id.Entry)
	}
	return collect[Entry](ctx, t, "the timeline", entriesByID, at, numbers)
}
