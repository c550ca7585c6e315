package outbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// attempt is the number of the request that the intent announces.
func (d *Delivery) attempt() int32 { return d.Requests + 1 }

// Attempt is the number of the next request of the delivery's step, from 1.
func (d *Delivery) Attempt() int { return int(d.attempt()) }

// Batch is a number of intents that are durable.
type Batch struct {
	At   time.Time // of the intents, by the database
	Size int       // how many deliveries it announces
	// some are these, where they are not all that were asked for.
	some map[Position]bool
}

// Announces tells of a delivery that intents were asked for whether the batch announces it.
// One that changed since it was read is left out.
func (b *Batch) Announces(d *Delivery) bool {
	return b.Size > 0 && (b.some == nil || b.some[d.Position()])
}

// Position of a delivery.
type Position struct {
	Lane        int16
	Destination int32
	Seq         Seq
}

// Position of d.
func (d *Delivery) Position() Position { return Position{d.Lane, d.Destination, d.Seq} }

// intendSQL names what it has stored only where that is fewer than so many ($11): all that
// its caller was asked for. The arrays of a row are parallel in whatever order.
const intendSQL = `
WITH valid AS (
  SELECT p.lane, p.destination, p.seq, p.step, p.attempt, p.revision
    FROM (SELECT unnest($3::smallint[]) AS lane, unnest($4::integer[]) AS destination, unnest($5::bigint[]) AS seq, unnest($6::integer[]) AS version, unnest($7::smallint[]) AS step,
                unnest($8::integer[]) AS attempt, unnest($9::smallint[]) AS revision, unnest($10::tid[]) AS tid) AS p
    JOIN deliveries d ON d.ctid = p.tid AND (d.lane, d.destination, d.seq, d.version) IS NOT DISTINCT FROM (p.lane, p.destination, p.seq, p.version)
), gathered AS (
  SELECT array_agg(lane) AS lanes, array_agg(destination) AS destinations, array_agg(seq) AS seqs, array_agg(step) AS steps, array_agg(attempt) AS attempts, array_agg(revision) AS revisions,
         count(*) < $11 AS short
    FROM valid
), stored AS (
  INSERT INTO intents (replica, batch, lanes, destinations, seqs, steps, attempts, revisions)
  SELECT $1, $2, lanes, destinations, seqs, steps, attempts, revisions FROM gathered WHERE lanes IS NOT NULL
  RETURNING at
)
SELECT at, cardinality(seqs), CASE WHEN short THEN lanes END, CASE WHEN short THEN destinations END, CASE WHEN short THEN seqs END FROM stored, gathered`

const (
	intendedSQL = `SELECT at, cardinality(seqs), lanes, destinations, seqs FROM intents WHERE replica = $1 AND batch = $2`
	pruneSQL    = `DELETE FROM intents WHERE replica = $1 AND batch = ANY($2)`
)

// Intend makes the intents of these deliveries durable, in one row, while their
// lanes are held: only what is in the returned batch may be sent. A delivery that an
// operator changed since it was read is left out; so is one whose row has moved in the
// table, and both are to be read again.
//
// What requests were made with by mapping tables is kept in the same transaction: uses are
// of these deliveries, or of some of them.
//
// An error other than [ErrLeaseLost] leaves it open whether the batch was stored;
// calling again with the same number settles it.
func (r *Replica) Intend(ctx context.Context, number int64, leases []Lease, deliveries []*Delivery, uses ...Using) (Batch, error) {
	fencedLanes, epochs := fenceArguments(heeded(leases))
	stored := storedIntents{asked: len(deliveries)}
	// Pipelined: one round trip, one transaction.
	batch := &pgx.Batch{}
	batch.Queue(fenceSQL, r.id, fencedLanes, epochs)
	batch.Queue(intendSQL, r.intendArguments(number, deliveries, len(deliveries))...).QueryRow(stored.scan)
	var err error
	if len(uses) == 0 {
		err = r.pool.SendBatch(ctx, batch).Close()
	} else { // who is in the batch must be known first
		err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
			if err := tx.SendBatch(ctx, batch).Close(); err != nil {
				return err
			}
			return stored.use(ctx, tx, uses)
		})
	}
	if sqlState(err) == uniqueViolation {
		// An earlier call stored it and lost the answer.
		err = stored.scan(r.pool.QueryRow(ctx, intendedSQL, r.id, number))
	}
	if err = leaseError(err); err != nil {
		return Batch{}, fmt.Errorf("store intents: %w", err)
	}
	return stored.batch(), nil
}

// intendArguments are of deliveries that are left of as many as were asked for.
func (r *Replica) intendArguments(number int64, deliveries []*Delivery, asked int) []any {
	n := len(deliveries)
	lanes, destinations, seqs := make([]int16, n), make([]int32, n), make([]int64, n)
	versions, steps, attempts, revisions := make([]int32, n), make([]int16, n), make([]int32, n), make([]int16, n)
	rows := make([]pgtype.TID, n)
	for i, d := range deliveries {
		rows[i] = d.Row
		lanes[i], destinations[i], seqs[i] = d.Lane, d.Destination, int64(d.Seq)
		versions[i], steps[i], attempts[i], revisions[i] = d.Version, d.Step, d.attempt(), d.Revision
	}
	return []any{r.id, number, lanes, destinations, seqs, versions, steps, attempts, revisions, rows, asked}
}

// storedIntents is a row of intents, as far as it is asked for.
type storedIntents struct {
	asked        int // for how many deliveries there were to be intents
	at           time.Time
	size         int
	lanes        []int16
	destinations []int32
	seqs         []Seq
}

// scan leaves it empty where there is no row.
func (s *storedIntents) scan(row pgx.Row) error {
	err := row.Scan(&s.at, &s.size, &s.lanes, &s.destinations, &s.seqs)
	if err == pgx.ErrNoRows {
		return nil
	}
	return err
}

func (s *storedIntents) batch() Batch {
	b := Batch{At: s.at, Size: s.size}
	if s.size == s.asked {
		return b
	}
	b.some = make(map[Position]bool, len(s.seqs)) // none that is not named
	for i := range s.seqs {
		b.some[Position{s.lanes[i], s.destinations[i], s.seqs[i]}] = true
	}
	return b
}

// use keeps what those that are stored were made with.
func (s *storedIntents) use(ctx context.Context, tx pgx.Tx, uses []Using) error {
	batch := &pgx.Batch{}
	queueUses(batch, s.batch(), uses)
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}

const uniqueViolation = "23505"

// NextBatch numbers a batch of intents of this replica.
func (r *Replica) NextBatch() int64 { return r.batch.Add(1) }

// Prune deletes batches of this replica whose every outcome is stored.
func (r *Replica) Prune(ctx context.Context, numbers []int64) error {
	if _, err := r.pool.Exec(ctx, pruneSQL, r.id, numbers); err != nil {
		return fmt.Errorf("prune intents: %w", err)
	}
	return nil
}

// Orphan is an intent whose replica ended before its outcome was stored: the request
// may or may not have been sent.
type Orphan struct {
	Delivery
	IntendedAt time.Time
	// Restored: the database was restored from a backup, which does not tell whether
	// there was a request (see [Store.AfterRestore]).
	Restored bool
}

// IntentRow names a row of intents.
type IntentRow struct {
	Replica, Batch int64
}

// orphanRows is how many rows of intents are looked through at once; each holds a few
// hundred.
const orphanRows = 16

const (
	orphanRowSQL = `
SELECT replica, batch FROM intents WHERE replica <> $1 AND (replica, batch) > ($2, $3) ORDER BY replica, batch OFFSET $4 LIMIT 1`

	// orphansSQL: after a restore, or where it was begun twice, an attempt may stand in
	// more than one row.
	orphansSQL = `
SELECT DISTINCT ON (d.lane, d.destination, d.seq) i.at, i.replica = 0, ` + deliveryColumns + `
  FROM intents i
 CROSS JOIN LATERAL unnest(i.lanes, i.destinations, i.seqs, i.steps, i.attempts) AS p(lane, destination, seq, step, attempt)
  JOIN deliveries d ON d.lane = p.lane AND d.destination = p.destination AND d.seq = p.seq AND d.step = p.step AND d.requests < p.attempt
 WHERE p.lane = ANY($2) AND i.replica <> $1 AND (i.replica, i.batch) > ($3, $4) AND (i.replica, i.batch) <= ($5, $6)
 ORDER BY d.lane, d.destination, d.seq, i.at`
)

// Orphans returns open intents of other replicas in these lanes, those of a bounded
// number of rows after one; the zero row is before all. next is where to go on once they
// are settled, or nil where there is no more. Called after the lanes were taken, when
// nothing of those replicas can commit any more.
func (r *Replica) Orphans(ctx context.Context, lanes []int16, after IntentRow) (found []Orphan, next *IntentRow, err error) {
	through := IntentRow{math.MaxInt64, math.MaxInt64}
	err = r.pool.QueryRow(ctx, orphanRowSQL, r.id, after.Replica, after.Batch, orphanRows-1).Scan(&through.Replica, &through.Batch)
	switch {
	case err == nil:
		next = &through
	case !errors.Is(err, pgx.ErrNoRows):
		return nil, nil, fmt.Errorf("look for orphans: %w", err)
	}
	rows, err := r.pool.Query(ctx, orphansSQL, r.id, lanes, after.Replica, after.Batch, through.Replica, through.Batch)
	if err != nil {
		return nil, nil, fmt.Errorf("look for orphans: %w", err)
	}
	var o Orphan
	w := deliveryRows(rows, pgtype.TimestamptzOID, pgtype.BoolOID)
	for w.next() {
		o.IntendedAt, _ = w.time()
		o.Restored = w.bool()
		w.delivery(&o.Delivery)
		found = append(found, o)
	}
	if w.err != nil {
		return nil, nil, fmt.Errorf("look for orphans: %w", w.err)
	}
	return found, next, nil
}
