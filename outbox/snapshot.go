package outbox

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// SnapshotVersion says which of two snapshots of one thing is the newer: a number, a
// text or a time. The zero value is no version.
type SnapshotVersion struct {
	kind   int16
	number int64
	text   string
}

const (
	versionNumber = iota + 1
	versionText
	versionTime
)

// longestVersion is the most bytes of a version that is a text.
const longestVersion = 200

// VersionOf makes a version of an int64, a string of 1 to 200 bytes that Postgres can
// hold, or a time, of which microseconds are kept. Its error quotes no value.
func VersionOf(value any) (SnapshotVersion, error) {
	switch v := value.(type) {
	case int64:
		return SnapshotVersion{kind: versionNumber, number: v}, nil
	case string:
		if v == "" || len(v) > longestVersion || storable(v) != v {
			return SnapshotVersion{}, fmt.Errorf("a version that is a text has 1 to %d bytes of valid UTF-8", longestVersion)
		}
		return SnapshotVersion{kind: versionText, text: v}, nil
	case time.Time:
		return SnapshotVersion{kind: versionTime, number: v.UnixMicro()}, nil
	}
	return SnapshotVersion{}, fmt.Errorf("a version is a whole number, a text or a time, not a %T", value)
}

// OlderThan tells whether v is surely older than o: texts byte by byte, and never where
// the two are of different kinds.
func (v SnapshotVersion) OlderThan(o SnapshotVersion) bool {
	return v.kind == o.kind && cmp.Or(cmp.Compare(v.number, o.number), strings.Compare(v.text, o.text)) < 0
}

func (v SnapshotVersion) String() string {
	switch v.kind {
	case versionNumber:
		return strconv.FormatInt(v.number, 10)
	case versionTime:
		return time.UnixMicro(v.number).UTC().Format(time.RFC3339Nano)
	}
	return v.text
}

// Snapshot is a version of what an ordering key stands for, and the event that has it.
type Snapshot struct {
	OrderingKey string
	Event       string // its id
	Version     SnapshotVersion
}

const appliedSnapshotsSQL = `
SELECT p.ord::integer - 1, s.event, s.kind, s.number, s.text
  FROM unnest($1::smallint[], $2::integer[], $3::text[], $4::text[]) WITH ORDINALITY AS p(lane, destination, route, ordering_key, ord)
  JOIN snapshots s ON s.lane = p.lane AND s.destination = p.destination AND s.route = p.route AND s.ordering_key = p.ordering_key`

// Applied returns the newest snapshot that each delivery's destination has by its route
// of the ordering key, in the order of the deliveries; nil where it has none.
func (r *Replica) Applied(ctx context.Context, deliveries []*Delivery, orderingKeys []string) ([]*Snapshot, error) {
	return readApplied(ctx, r.pool, deliveries, orderingKeys)
}

func readApplied(ctx context.Context, pool *pgxpool.Pool, deliveries []*Delivery, orderingKeys []string) ([]*Snapshot, error) {
	var lanes []int16
	var destinations []int32
	var routes []string
	for _, d := range deliveries {
		lanes, destinations, routes = append(lanes, d.Lane), append(destinations, d.Destination), append(routes, d.Route)
	}
	rows, err := pool.Query(ctx, appliedSnapshotsSQL, lanes, destinations, routes, orderingKeys)
	if err != nil {
		return nil, fmt.Errorf("read snapshots: %w", err)
	}
	found := make([]*Snapshot, len(deliveries))
	var ord int32
	var s Snapshot
	_, err = pgx.ForEachRow(rows, []any{&ord, &s.Event, &s.Version.kind, &s.Version.number, &s.Version.text}, func() error {
		applied := s
		applied.OrderingKey = orderingKeys[ord]
		found[ord] = &applied
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read snapshots: %w", err)
	}
	return found, nil
}

// applySnapshotsSQL runs before the deliveries that it matches are deleted, in the same
// transaction. What is applied last counts: an older one is not sent at all, and one of
// another kind begins a new count.
const applySnapshotsSQL = `
INSERT INTO snapshots (lane, destination, route, ordering_key, tenant, kind, number, text, event)
SELECT d.lane, d.destination, d.route, f.ordering_key, d.tenant, f.kind, f.number, f.text, f.event
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::text[], $6::smallint[], $7::bigint[], $8::text[], $9::text[])
       AS f(lane, destination, seq, version, ordering_key, kind, number, text, event)
  JOIN deliveries d ON d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.version = f.version
ON CONFLICT (lane, destination, route, ordering_key)
DO UPDATE SET kind = excluded.kind, number = excluded.number, text = excluded.text, event = excluded.event, applied_at = now()`

// snapshotColumns is a number of applied snapshots turned on their side, for unnest.
type snapshotColumns struct {
	finishColumns
	orderingKey []string
	kind        []int16
	number      []int64
	text        []string
	event       []string
}

func (c *snapshotColumns) add(t *Transition) {
	c.finishColumns.add(t)
	s := t.Snapshot
	c.orderingKey, c.event = append(c.orderingKey, s.OrderingKey), append(c.event, s.Event)
	c.kind, c.number, c.text = append(c.kind, s.Version.kind), append(c.number, s.Version.number), append(c.text, s.Version.text)
}

func (c *snapshotColumns) queue(batch *pgx.Batch) {
	if len(c.seq) > 0 {
		batch.Queue(applySnapshotsSQL, c.lane, c.destination, c.seq, c.version, c.orderingKey, c.kind, c.number, c.text, c.event)
	}
}

// supersededSQL ends deliveries without a request.
const supersededSQL = `
WITH gone AS (
  DELETE FROM deliveries d
   USING unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::text[], $6::text[], $8::bigint[], $9::timestamptz[])
         AS f(lane, destination, seq, version, reason, detail, key_hash, accepted_at)
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.replay, d.step, f.reason, f.detail
), counted AS (
  INSERT INTO tallies (tenant, destination, shard, superseded)
  SELECT tenant, destination, $7::smallint, count(*) FROM gone GROUP BY tenant, destination ORDER BY tenant, destination
  ON CONFLICT (tenant, destination, shard) DO UPDATE SET superseded = tallies.superseded + excluded.superseded
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, what, state, reason, detail)
  SELECT tenant, event, event_at, destination, replay, step, 'supersede', 'SUPERSEDED', reason, detail::jsonb FROM gone
)
SELECT lane, destination, seq FROM gone`
