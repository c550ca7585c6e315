package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// LongestEffect is the most bytes of an effect's name.
const LongestEffect = 200

// ClassEffectExists is the class of a delivery whose effect is there already, where its
// route wants a person to decide.
const ClassEffectExists = "EFFECT_EXISTS"

// CheckEffect says what is wrong with the name of an effect. It quotes nothing of it.
func CheckEffect(name string) error {
	if name == "" || len(name) > LongestEffect || storable(name) != name {
		return fmt.Errorf("the name of an effect has 1 to %d bytes of valid UTF-8", LongestEffect)
	}
	return nil
}

// EffectName names an effect in the ledger.
type EffectName struct {
	Tenant      string
	Destination int32
	Effect      string
}

// Effect is what the ledger knows of one: what is there, and who is about to change that.
type Effect struct {
	// Revision is 0 while it is not there; it rises with each update that is proven.
	Revision int32
	Receipt  Receipt
	Content  []byte // SHA-256 of what was sent for it; nil where that is not known
	Source   string // of the event that brought it, and its id
	Event    string
	At       time.Time
	// Claim: the delivery that has claimed it; nil: none has.
	Claim *Position
	// Key is the idempotency key that the claim's requests go by.
	Key string
}

const effectsSQL = `
SELECT p.ord::integer - 1, e.revision, e.external_id, e.url, e.fields, e.content, coalesce(e.source, ''), coalesce(e.event, ''), coalesce(e.at, 'epoch'), e.lane, e.seq, e.key
  FROM unnest($1::text[], $2::integer[], $3::text[]) WITH ORDINALITY AS p(tenant, destination, effect, ord)
  JOIN effects e ON e.tenant = p.tenant AND e.destination = p.destination AND e.effect = p.effect`

// Effects returns what the ledger knows of each, in the order of the names; nil where it
// knows nothing.
func (r *Replica) Effects(ctx context.Context, names []EffectName) ([]*Effect, error) {
	return readEffects(ctx, r.pool, names)
}

func readEffects(ctx context.Context, pool *pgxpool.Pool, names []EffectName) ([]*Effect, error) {
	var tenants, effects []string
	var destinations []int32
	for _, n := range names {
		tenants, destinations, effects = append(tenants, n.Tenant), append(destinations, n.Destination), append(effects, n.Effect)
	}
	rows, err := pool.Query(ctx, effectsSQL, tenants, destinations, effects)
	if err != nil {
		return nil, fmt.Errorf("read effects: %w", err)
	}
	defer rows.Close()
	found := make([]*Effect, len(names))
	for rows.Next() {
		var ord int32
		var fields []byte
		var lane *int16
		var seq *Seq
		e := &Effect{}
		if err := rows.Scan(&ord, &e.Revision, &e.Receipt.ExternalID, &e.Receipt.URL, &fields, &e.Content, &e.Source, &e.Event, &e.At, &lane, &seq, &e.Key); err != nil {
			return nil, fmt.Errorf("read effects: %w", err)
		}
		if len(fields) > 0 {
			if err := json.Unmarshal(fields, &e.Receipt.Fields); err != nil {
				return nil, fmt.Errorf("read effects: %w", err)
			}
		}
		if lane != nil && seq != nil {
			e.Claim = &Position{*lane, names[ord].Destination, *seq}
		}
		found[ord] = e
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read effects: %w", err)
	}
	return found, nil
}

// Claim asks for an effect on behalf of a delivery.
type Claim struct {
	Effect string
	// Revision is what the request was prepared by: where the ledger has another by now,
	// the claim is not made.
	Revision int32
	// Key is what the requests go by. Empty where one that may have had its effect went by
	// the key that the ledger has.
	Key string
}

// Claimed is what became of a claim.
type Claimed struct {
	// Won: the effect is the delivery's, until its step is done or the delivery ends.
	Won bool
	// By is whose it is, where another delivery has it. The one that asked waits, and is due
	// once that ends.
	By *Position
	// UnknownAt: a delivery that has ended made a request then that may have had the effect.
	// The claim is made, and nothing is intended.
	UnknownAt *time.Time
}

// claimSQL makes claims, each effect at most once, in one order for all. The row that it
// returns is locked, whoever has the claim, until the transaction ends.
const claimSQL = `
WITH asked AS MATERIALIZED (
  SELECT d.tenant, d.destination, p.effect, d.lane, d.seq, d.key_hash, p.revision, p.key, d.unknown_at IS NOT NULL AS unknown
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::bigint[], $6::timestamptz[], $7::text[], $8::integer[], $9::text[])
         AS p(lane, destination, seq, version, key_hash, accepted_at, effect, revision, key)
    JOIN deliveries d ON d.lane = p.lane AND d.destination = p.destination AND d.seq = p.seq AND d.key_hash = p.key_hash AND d.accepted_at = p.accepted_at AND d.version = p.version
), claims AS (
  INSERT INTO effects AS e (tenant, destination, effect, lane, seq, claimed_at, key)
  SELECT tenant, destination, effect, lane, seq, now(), key FROM asked ORDER BY tenant, destination, effect
  ON CONFLICT (tenant, destination, effect) DO UPDATE
    SET lane = coalesce(e.lane, excluded.lane), seq = coalesce(e.seq, excluded.seq), claimed_at = coalesce(e.claimed_at, excluded.claimed_at),
        key = CASE WHEN e.unknown_at IS NOT NULL OR excluded.key = '' OR (e.lane, e.seq) <> (excluded.lane, excluded.seq) THEN e.key ELSE excluded.key END
  RETURNING tenant, destination, effect, revision, lane, seq, unknown_at
), outcome AS (
  SELECT a.*, c.lane AS by_lane, c.seq AS by_seq, (c.lane, c.seq) = (a.lane, a.seq) AS won, c.revision = a.revision AS same,
         CASE WHEN NOT a.unknown THEN c.unknown_at END AS unknown_at
    FROM asked a JOIN claims c USING (tenant, destination, effect)
), noted AS (
  UPDATE deliveries d SET claimed = true FROM outcome o
   WHERE o.won AND d.lane = o.lane AND d.destination = o.destination AND d.seq = o.seq AND d.key_hash = o.key_hash AND NOT d.claimed
  RETURNING d.lane, d.destination, d.seq, d.ctid AS tid
), waiting AS (
  INSERT INTO effect_waits (tenant, destination, effect, lane, seq, key_hash)
  SELECT tenant, destination, effect, lane, seq, key_hash FROM outcome WHERE NOT won
  ON CONFLICT DO NOTHING
)
SELECT lane, destination, seq, won, same, by_lane, by_seq, unknown_at, tid FROM outcome LEFT JOIN noted USING (lane, destination, seq)`

// yieldSQL ends the claims of deliveries behind one of their key that waits for a claim
// itself: one that was accepted earlier and committed later may come before whoever has
// claimed something by then. None of these has a request on the wire while another of its
// key is up, and all of them wait for that one: it must not wait for any of them, nor for
// one that does. Where a request of theirs may have had the effect, the next one is told.
const yieldSQL = `
WITH behind AS MATERIALIZED (
  SELECT e.tenant, e.destination, e.effect, d.unknown_at AS doubt
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[], $5::timestamptz[]) AS f(lane, destination, seq, key_hash, accepted_at)
    JOIN effects e ON e.destination = f.destination AND e.lane = f.lane
    JOIN deliveries d ON d.lane = e.lane AND d.destination = e.destination AND d.seq = e.seq
   WHERE d.key_hash = f.key_hash AND (d.accepted_at, d.seq) > (f.accepted_at, f.seq)
   ORDER BY e.tenant, e.destination, e.effect FOR UPDATE OF e
), freed AS (
  UPDATE effects e
     SET lane = NULL, seq = NULL, claimed_at = NULL, unknown_at = coalesce(e.unknown_at, b.doubt), content = CASE WHEN b.doubt IS NULL THEN e.content END
    FROM behind b WHERE e.tenant = b.tenant AND e.destination = b.destination AND e.effect = b.effect
  RETURNING e.tenant, e.destination, e.effect
), woken AS (
  DELETE FROM effect_waits w USING freed f WHERE w.tenant = f.tenant AND w.destination = f.destination AND w.effect = f.effect
  RETURNING w.lane, w.destination, w.seq, w.key_hash
)
INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM woken
ON CONFLICT DO NOTHING
RETURNING lane`

// IntendClaiming is [Replica.Intend] of deliveries that each claim an effect in the same
// transaction: only those that have it are in the batch. No two of them may claim the same.
func (r *Replica) IntendClaiming(ctx context.Context, number int64, leases []Lease, deliveries []*Delivery, claims []Claim, uses ...Using) (Batch, map[Position]Claimed, error) {
	var c finishColumns
	var effects, keys []string
	var revisions []int32
	for i, d := range deliveries {
		c.add(&Transition{Delivery: d})
		effects, revisions, keys = append(effects, claims[i].Effect), append(revisions, claims[i].Revision), append(keys, claims[i].Key)
	}
	became := make(map[Position]Claimed, len(deliveries))
	stored := storedIntents{asked: len(deliveries)}
	var woken []int16
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		var waiting finishColumns
		lanes, epochs := fenceArguments(heeded(leases))
		batch := &pgx.Batch{}
		batch.Queue(fenceSQL, r.id, lanes, epochs)
		ready := make(map[Position]pgtype.TID) // where its row is by now, if the claim has moved it
		batch.Queue(claimSQL, c.lane, c.destination, c.seq, c.version, c.keyHash, c.acceptedAt, effects, revisions, keys).Query(func(rows pgx.Rows) error {
			var p, by Position
			var won, same bool
			var unknownAt *time.Time
			var moved pgtype.TID
			_, err := pgx.ForEachRow(rows, []any{&p.Lane, &p.Destination, &p.Seq, &won, &same, &by.Lane, &by.Seq, &unknownAt, &moved}, func() error {
				made := Claimed{Won: won, UnknownAt: unknownAt}
				if !won {
					made.By = &Position{by.Lane, p.Destination, by.Seq}
				}
				if became[p] = made; won && same && unknownAt == nil {
					ready[p] = moved
				}
				unknownAt = nil
				return nil
			})
			return err
		})
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		for _, d := range deliveries {
			if became[d.Position()].By != nil {
				waiting.add(&Transition{Delivery: d})
			}
		}
		var err error
		if woken, err = waiting.yield(ctx, tx); err != nil {
			return err
		}
		var going []*Delivery
		for _, d := range deliveries {
			switch row, ok := ready[d.Position()]; {
			case ok && row.Valid:
				there := *d
				there.Row = row
				going = append(going, &there)
			case ok:
				going = append(going, d)
			}
		}
		if err := stored.scan(tx.QueryRow(ctx, intendSQL, r.intendArguments(number, going, len(deliveries))...)); err != nil || len(uses) == 0 {
			return err
		}
		return stored.use(ctx, tx, uses)
	})
	if sqlState(err) == uniqueViolation { // an earlier call stored it and lost the answer
		err = stored.scan(r.pool.QueryRow(ctx, intendedSQL, r.id, number))
	}
	if err != nil {
		return Batch{}, nil, fmt.Errorf("store intents: %w", leaseError(err))
	}
	if len(woken) > 0 {
		r.store.Hint(Hint{Lanes: woken})
	}
	return stored.batch(), became, nil
}

// yield has those behind these give up what they have claimed, and returns the lanes of
// who waited for that.
func (c *finishColumns) yield(ctx context.Context, tx pgx.Tx) ([]int16, error) {
	if len(c.seq) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, yieldSQL, c.lane, c.destination, c.seq, c.keyHash, c.acceptedAt)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int16])
}
