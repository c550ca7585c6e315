package outbox

import (
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// StepDone is what a transition says of the step that is done, where its route names
// steps and To is StateDelivered or StatePending.
type StepDone struct {
	Name    string
	Receipt Receipt
	// Existing: the effect was there already, and nothing was sent.
	Existing bool
}

// EffectDone is what a step has brought about, where its route names an effect and a
// request has.
type EffectDone struct {
	Name string
	// Content is the SHA-256 of what was sent for it; nil where that is not known.
	Content []byte
	// Source and Event are the names of the event that brought it.
	Source, Event string
}

const (
	// lockClaimsSQL goes before the others, so that what follows takes no lock out of the
	// order in which claims are made.
	lockClaimsSQL = `
SELECT FROM effects e
  JOIN unnest($1::smallint[], $2::integer[], $3::bigint[]) AS f(lane, destination, seq) ON e.destination = f.destination AND e.lane = f.lane AND e.seq = f.seq
 ORDER BY e.tenant, e.destination, e.effect FOR UPDATE OF e`

	// settleSQL enters into the ledger what was brought about. What an update's answer does
	// not say again stays as it was.
	settleSQL = `
WITH settled AS (
  UPDATE effects e
     SET revision = e.revision + 1, at = now(), source = f.source, event = f.event, content = f.content,
         external_id = coalesce(nullif(f.external_id, ''), e.external_id), url = coalesce(nullif(f.url, ''), e.url), fields = coalesce(e.fields, '{}') || f.fields::jsonb,
         lane = NULL, seq = NULL, claimed_at = NULL, key = '', unknown_at = NULL
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::text[], $11::text[])
         AS f(lane, destination, seq, version, effect, external_id, url, fields, content, source, event)
    JOIN deliveries d ON d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.version = f.version
   WHERE e.tenant = d.tenant AND e.destination = f.destination AND e.effect = f.effect AND e.lane = f.lane AND e.seq = f.seq
  RETURNING e.tenant, e.destination, e.effect
), woken AS (
  DELETE FROM effect_waits w USING settled s WHERE w.tenant = s.tenant AND w.destination = s.destination AND w.effect = s.effect
  RETURNING w.lane, w.destination, w.seq, w.key_hash
)
INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM woken
ON CONFLICT DO NOTHING
RETURNING lane`

	// unclaimSQL ends what claims a delivery still has. Where a request of it may have had
	// the effect, the next one to claim it is told, and what is there is not known.
	unclaimSQL = `
WITH freed AS (
  UPDATE effects e
     SET lane = NULL, seq = NULL, claimed_at = NULL, unknown_at = coalesce(e.unknown_at, f.doubt), content = CASE WHEN f.doubt IS NULL THEN e.content END
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::timestamptz[]) AS f(lane, destination, seq, version, doubt)
    JOIN deliveries d ON d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.version = f.version
   WHERE e.destination = f.destination AND e.lane = f.lane AND e.seq = f.seq
  RETURNING e.tenant, e.destination, e.effect
), woken AS (
  DELETE FROM effect_waits w USING freed s WHERE w.tenant = s.tenant AND w.destination = s.destination AND w.effect = s.effect
  RETURNING w.lane, w.destination, w.seq, w.key_hash
)
INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM woken
ON CONFLICT DO NOTHING
RETURNING lane`

	// skipClaimsSQL ends the claims of a delivery that an operator ends, and its waiting for
	// those of others. Where a request of it may have had the effect, the next one is told.
	skipClaimsSQL = `
WITH freed AS (
  UPDATE effects e
     SET lane = NULL, seq = NULL, claimed_at = NULL, unknown_at = coalesce(e.unknown_at, $4::timestamptz), content = CASE WHEN $4::timestamptz IS NULL THEN e.content END
   WHERE e.destination = $2 AND e.lane = $1 AND e.seq = $3
  RETURNING e.tenant, e.destination, e.effect
), woken AS (
  DELETE FROM effect_waits w USING freed f WHERE w.tenant = f.tenant AND w.destination = f.destination AND w.effect = f.effect
  RETURNING w.lane, w.destination, w.seq, w.key_hash
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM woken ON CONFLICT DO NOTHING
)
DELETE FROM effect_waits w WHERE w.lane = $1 AND w.destination = $2 AND w.seq = $3`

	// inheritSQL: what is not known of an effect is the delivery's from here on.
	inheritSQL = `
UPDATE effects e SET unknown_at = NULL
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[]) AS f(lane, destination, seq, version)
  JOIN deliveries d ON d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.version = f.version
 WHERE e.destination = f.destination AND e.lane = f.lane AND e.seq = f.seq`
)

// stepColumns are what transitions do beside changing their deliveries, where steps are
// named or effects claimed. For all others it is empty, and queues nothing.
type stepColumns struct {
	claims   finishColumns // of whom any claim changes
	advanced struct {
		finishColumns
		name, receipt []string
	}
	existing finishColumns
	settled  struct {
		finishColumns
		effect, externalID, url, fields, source, event []string
		content                                        [][]byte
	}
	freed struct {
		finishColumns
		doubt []*time.Time
	}
	inherited finishColumns
	woken     []int16 // lanes in which somebody waited
}

// add takes note of a transition.
func (c *stepColumns) add(t *Transition) {
	if t.To == StatePending {
		c.advanced.add(t)
		c.advanced.name, c.advanced.receipt = append(c.advanced.name, t.Done.Name), append(c.advanced.receipt, t.Done.Receipt.json())
	}
	if !t.Claimed {
		return
	}
	before := len(c.settled.seq) + len(c.freed.seq) + len(c.inherited.seq)
	if t.Inherited {
		c.inherited.add(t)
	}
	if e := t.Effect; e != nil {
		s, receipt := &c.settled, t.Done.Receipt.storable()
		s.add(t)
		s.effect, s.externalID, s.url = append(s.effect, e.Name), append(s.externalID, receipt.ExternalID), append(s.url, receipt.URL)
		s.fields = append(s.fields, receipt.fieldsJSON())
		s.content, s.source, s.event = append(s.content, e.Content), append(s.source, e.Source), append(s.event, e.Event)
	}
	if doubt, frees := t.frees(); frees {
		c.freed.add(t)
		c.freed.doubt = append(c.freed.doubt, doubt)
	}
	if len(c.settled.seq)+len(c.freed.seq)+len(c.inherited.seq) > before {
		c.claims.add(t)
	}
}

// frees tells whether the transition ends what claims the delivery has left, and since
// when one of its requests may have had such an effect. One that is held lets others go
// where it is proven to have brought nothing about: trouble with one key delays no other.
func (t *Transition) frees() (doubt *time.Time, frees bool) {
	switch t.To {
	case StatePending:
		// What was there already is claimed where it came between the reading and the claim.
		return t.UnknownAt, t.Done.Existing
	case StateDelivered:
		// What it has claimed by another name, before its route was changed.
		if t.Sent {
			return &t.StartedAt, true
		}
		return t.UnknownAt, true
	case StateSuperseded:
		return t.UnknownAt, true
	case StateNeedsAction:
		return nil, t.UnknownAt == nil
	}
	return nil, false
}

// queue goes before the deliveries change, which are matched by their versions.
func (c *stepColumns) queue(batch *pgx.Batch) {
	if len(c.claims.seq) == 0 {
		return
	}
	batch.Queue(lockClaimsSQL, c.claims.lane, c.claims.destination, c.claims.seq)
	wake := func(rows pgx.Rows) error {
		lanes, err := pgx.CollectRows(rows, pgx.RowTo[int16])
		c.woken = append(c.woken, lanes...)
		return err
	}
	if s := &c.inherited; len(s.seq) > 0 {
		batch.Queue(inheritSQL, s.lane, s.destination, s.seq, s.version)
	}
	if s := &c.settled; len(s.seq) > 0 {
		batch.Queue(settleSQL, s.lane, s.destination, s.seq, s.version, s.effect, s.externalID, s.url, s.fields, s.content, s.source, s.event).Query(wake)
	}
	if s := &c.freed; len(s.seq) > 0 {
		batch.Queue(unclaimSQL, s.lane, s.destination, s.seq, s.version, s.doubt).Query(wake)
	}
}

// queueDeliveries changes the deliveries that go on with their next step, and ends those
// whose effect was there.
func (c *stepColumns) queueDeliveries(batch *pgx.Batch, shard int16, note func(pgx.Rows) error) {
	if s := &c.advanced; len(s.seq) > 0 {
		batch.Queue(advancedSQL, s.lane, s.destination, s.seq, s.version, s.attempt, s.startedAt, s.duration, s.kind, s.reason, s.detail, s.name, s.receipt, s.keyHash, s.acceptedAt).Query(note)
	}
	if s := &c.existing; len(s.seq) > 0 {
		batch.Queue(existingSQL, s.lane, s.destination, s.seq, s.version, s.kind, s.reason, s.detail, shard, s.keyHash, s.acceptedAt).Query(note)
	}
}

// wokenLanes are those in which a delivery has become due, each once.
func (c *stepColumns) wokenLanes() []int16 {
	slices.Sort(c.woken)
	return slices.Compact(c.woken)
}
