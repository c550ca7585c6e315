package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Receipt is what a platform gave for an effect or a step.
type Receipt struct {
	ExternalID string            `json:"externalId,omitempty"`
	URL        string            `json:"url,omitempty"`
	Fields     map[string]string `json:"fields,omitempty"`
}

// Bounds of the fields of a receipt.
const (
	maxReceiptFields = 16
	longestField     = 200
)

// storable is as much of the receipt as is kept: 16 fields, the first by name, of 200
// bytes, all of it text that Postgres can hold.
func (r Receipt) storable() Receipt {
	kept := Receipt{ExternalID: storable(r.ExternalID), URL: storable(r.URL)}
	if len(r.Fields) == 0 {
		return kept
	}
	names := slices.Sorted(maps.Keys(r.Fields))
	for _, name := range names[:min(len(names), maxReceiptFields)] {
		if kept.Fields == nil {
			kept.Fields = make(map[string]string)
		}
		kept.Fields[truncated(name, longestField)] = truncated(r.Fields[name], longestField)
	}
	return kept
}

// json of a receipt, which always marshals.
func (r Receipt) json() string {
	text, _ := json.Marshal(r.storable())
	return string(text)
}

// fieldsJSON are the fields alone, {} where there are none.
func (r Receipt) fieldsJSON() string {
	if r.Fields == nil {
		return "{}"
	}
	text, _ := json.Marshal(r.Fields)
	return string(text)
}

// Next is the delivery as it stands once the transition to StatePending of it is stored:
// before its next step, with nothing tried.
func (d *Delivery) Next() Delivery {
	next := *d
	next.Step, next.Version, next.State = d.Step+1, d.Version+1, Pending
	next.Requests, next.Attempts, next.Revision = 0, 0, 0
	next.UnknownAt, next.TriedAt = nil, nil
	return next
}

// advancedSQL keeps a delivery open for its next step. What was tried counts from nothing
// again. A step without a request has its effect there already.
const advancedSQL = `
WITH changed AS (
  UPDATE deliveries d
     SET state = 0, due_at = NULL, step = d.step + 1, requests = 0, attempts = 0, revision = 0, kind = f.kind, version = d.version + 1,
         unknown_at = NULL, tried_at = NULL, receipts = coalesce(d.receipts, '{}') || jsonb_build_object(f.step_name, f.receipt::jsonb)
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::integer[], $6::timestamptz[], $7::integer[], $8::smallint[], $9::text[], $10::text[],
                $11::text[], $12::text[], $13::bigint[], $14::timestamptz[])
         AS f(lane, destination, seq, version, attempt, started_at, duration_us, kind, reason, detail, step_name, receipt, key_hash, accepted_at)
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.replay, d.step - 1 AS step, f.attempt, f.started_at, f.duration_us, f.kind, f.reason, f.detail
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, attempt, started_at, duration_us, kind, what, state, reason, detail)
  SELECT tenant, event, event_at, destination, replay, step, CASE WHEN started_at IS NOT NULL THEN attempt END, started_at, duration_us, kind,
         CASE WHEN started_at IS NULL THEN 'effect' ELSE 'attempt' END, 'PENDING', reason, detail::jsonb
    FROM changed
)
SELECT lane, destination, seq FROM changed`

// existingSQL ends deliveries without a request: the effect of the last step is there.
const existingSQL = `
WITH gone AS (
  DELETE FROM deliveries d
   USING unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::smallint[], $6::text[], $7::text[], $9::bigint[], $10::timestamptz[])
         AS f(lane, destination, seq, version, kind, reason, detail, key_hash, accepted_at)
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.replay, d.step, f.kind, f.reason, f.detail
), counted AS (
  INSERT INTO tallies (tenant, destination, shard, delivered)
  SELECT tenant, destination, $8::smallint, count(*) FROM gone GROUP BY tenant, destination ORDER BY tenant, destination
  ON CONFLICT (tenant, destination, shard) DO UPDATE SET delivered = tallies.delivered + excluded.delivered
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, kind, what, state, reason, detail)
  SELECT tenant, event, event_at, destination, replay, step, kind, 'effect', 'DELIVERED', reason, detail::jsonb FROM gone
)
SELECT lane, destination, seq FROM gone`

const receiptsSQL = `
SELECT p.ord::integer - 1, d.receipts
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[], $5::timestamptz[]) WITH ORDINALITY AS p(lane, destination, seq, key_hash, accepted_at, ord)
  JOIN deliveries d ON d.lane = p.lane AND d.destination = p.destination AND d.seq = p.seq AND d.key_hash = p.key_hash AND d.accepted_at = p.accepted_at
 WHERE d.receipts IS NOT NULL`

// Receipts returns the receipts of each delivery's steps that are done, by step name, in
// the order of the deliveries; nil where none is.
func (r *Replica) Receipts(ctx context.Context, deliveries []*Delivery) ([]map[string]Receipt, error) {
	var c finishColumns
	for _, d := range deliveries {
		c.add(&Transition{Delivery: d})
	}
	rows, err := r.pool.Query(ctx, receiptsSQL, c.lane, c.destination, c.seq, c.keyHash, c.acceptedAt)
	if err != nil {
		return nil, fmt.Errorf("read receipts: %w", err)
	}
	defer rows.Close()
	all := make([]map[string]Receipt, len(deliveries))
	for rows.Next() {
		var ord int32
		var receipts map[string]Receipt
		if err := rows.Scan(&ord, &receipts); err != nil {
			return nil, fmt.Errorf("read receipts: %w", err)
		}
		all[ord] = receipts
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read receipts: %w", err)
	}
	return all, nil
}
