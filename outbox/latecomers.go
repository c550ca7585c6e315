package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// lateColumns is what is late, by destination, turned on its side for unnest.
type lateColumns struct {
	groups []*lateGroup
}

type lateGroup struct {
	Deadline // that of the first
	lanes    []int16
	seqs     []Seq
}

func (c *lateColumns) add(d Deadline, lane int16, seq Seq) {
	i := slices.IndexFunc(c.groups, func(g *lateGroup) bool { return g.Destination == d.Destination })
	if i < 0 {
		i = len(c.groups)
		c.groups = append(c.groups, &lateGroup{Deadline: d})
	}
	g := c.groups[i]
	g.lanes, g.seqs = append(g.lanes, lane), append(g.seqs, seq)
}

const (
	// raiseLateSQL opens the exception, or holds the one that is open until the
	// transaction ends: members and their count change under its lock only.
	raiseLateSQL = `
INSERT INTO exceptions (tenant, class, destination, sample) VALUES ($1, '` + ClassLate + `', $2, $3)
ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL
DO UPDATE SET last_at = exceptions.last_at
RETURNING id, xmax = 0 AS opened`

	exceptionOpenedSQL = `INSERT INTO timeline (tenant, exception, destination, what, reason) VALUES ($1, $2, $3, 'exception', $4)`

	// joinLateSQL leaves out what has ended since it was read, and what is a member, of one
	// that a person has put aside too: that stays so until the delivery ends.
	joinLateSQL = `
WITH joined AS (
  INSERT INTO late (exception, lane, destination, seq, tenant)
  SELECT $1, d.lane, d.destination, d.seq, d.tenant
    FROM unnest($3::smallint[], $4::bigint[]) AS p(lane, seq)
   CROSS JOIN LATERAL (
     SELECT * FROM deliveries d WHERE d.lane = p.lane AND d.destination = $2 AND d.seq = p.seq LIMIT 1) AS d
   WHERE NOT EXISTS (
     SELECT FROM exceptions x
      CROSS JOIN LATERAL (SELECT FROM late l WHERE l.exception = x.id AND l.lane = d.lane AND l.destination = d.destination AND l.seq = d.seq LIMIT 1) AS l
      WHERE x.class = '` + ClassLate + `' AND x.destination = $2 AND x.source = 0 AND x.status = 'DISMISSED')
  ON CONFLICT DO NOTHING
  RETURNING seq
)
UPDATE exceptions SET held = held + n, version = version + 1, last_at = now()
  FROM (SELECT count(*) AS n FROM joined) AS counted WHERE id = $1 AND n > 0`
)

// errNothingLate takes back the opening of an exception that nothing joins.
var errNothingLate = errors.New("nothing is late")

// raiseLate takes a transaction a destination, so that it waits for one exception only.
func (w *Sweeper) raiseLate(ctx context.Context, late *lateColumns) error {
	for _, g := range late.groups {
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			reason := fmt.Sprintf("not done within %s of acceptance, the time that the route gives it", brief(g.Within))
			var exception int64
			var opened bool
			if err := tx.QueryRow(ctx, raiseLateSQL, g.Tenant, g.Destination, reason).Scan(&exception, &opened); err != nil {
				return err
			}
			if opened {
				if _, err := tx.Exec(ctx, exceptionOpenedSQL, g.Tenant, exception, g.Destination, reason); err != nil {
					return err
				}
			}
			joined, err := tx.Exec(ctx, joinLateSQL, exception, g.Destination, g.lanes, g.seqs)
			if err == nil && opened && joined.RowsAffected() == 0 {
				return errNothingLate
			}
			return err
		})
		if err != nil && !errors.Is(err, errNothingLate) {
			return err
		}
	}
	return nil
}

const (
	// withMembersSQL are those that have members: one that was put aside keeps them while they are
	// open, so that no restart brings it back.
	withMembersSQL = `
SELECT id, destination FROM exceptions WHERE class = '` + ClassLate + `' AND closed_at IS NULL
UNION ALL
SELECT x.id, x.destination FROM exceptions x CROSS JOIN LATERAL (SELECT FROM late WHERE late.exception = x.id LIMIT 1) AS has
 WHERE x.class = '` + ClassLate + `' AND x.status = 'DISMISSED'`

	lateMembersSQL = `
SELECT p.ord::integer - 1, l.seq, d.seq IS NULL
  FROM unnest($1::bigint[], $2::smallint[], $3::integer[], $4::bigint[]) WITH ORDINALITY AS p(exception, lane, destination, after, ord)
 CROSS JOIN LATERAL (
   SELECT * FROM late
    WHERE late.exception = p.exception AND late.lane = p.lane AND late.destination = p.destination AND late.seq > p.after
    ORDER BY late.seq LIMIT $5) AS l
  LEFT JOIN LATERAL (
   SELECT d.seq FROM deliveries d WHERE d.lane = l.lane AND d.destination = l.destination AND d.seq = l.seq LIMIT 1) AS d ON true
 ORDER BY p.ord, l.seq`

	lockExceptionSQL = `SELECT FROM exceptions WHERE id = $1 FOR UPDATE`

	// leaveLateSQL finds each member by the key, whatever the planner thinks of the table.
	leaveLateSQL = `
WITH gone AS (
  DELETE FROM late WHERE ctid = ANY (ARRAY(
    SELECT m.ctid
      FROM unnest($3::smallint[], $4::bigint[]) AS p(lane, seq)
     CROSS JOIN LATERAL (
       SELECT l.ctid FROM late l WHERE l.exception = $1 AND l.lane = p.lane AND l.destination = $2 AND l.seq = p.seq LIMIT 1) AS m))
  RETURNING seq
), changed AS (
  UPDATE exceptions
     SET held = held - n, version = version + 1,
         status = CASE WHEN held = n THEN 'RESOLVED' ELSE status END,
         closed_at = CASE WHEN held = n THEN now() END
    FROM (SELECT count(*) AS n FROM gone) AS counted
   WHERE id = $1 AND closed_at IS NULL AND n > 0
  RETURNING tenant, id, destination, status
)
INSERT INTO timeline (tenant, exception, destination, what, reason)
SELECT tenant, id, destination, 'resolved', 'nothing that was late is open any more' FROM changed WHERE status = 'RESOLVED'`
)

// members is one lane's share of an exception.
type members struct {
	memberKey
	destination int32
}

// dropFromLate looks at members in turn, and takes out those that are not open any more.
// While there are such it looks on; else it looks at a few in each sweep.
func (w *Sweeper) dropFromLate(ctx context.Context, lanes []int16) error {
	rows, err := w.pool.Query(ctx, withMembersSQL)
	if err != nil {
		return err
	}
	var open []members
	var m members
	_, err = pgx.ForEachRow(rows, []any{&m.exception, &m.destination}, func() error {
		for _, m.lane = range lanes {
			open = append(open, m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	before := w.late.members
	w.late.members = make(map[memberKey]Seq, len(open))
	for _, m := range open {
		w.late.members[m.memberKey] = before[m.memberKey]
	}
	slices.SortFunc(open, func(a, b members) int { return cmp.Compare(a.exception, b.exception) })
	seen := 0
	for step := 0; len(open) > 0 && step < lateSteps; step++ {
		part := open[:min(len(open), lateRanges)]
		rest, looked, gone, err := w.lookAtMembers(ctx, part)
		if err != nil {
			return err
		}
		open = append(open[len(part):], rest...)
		if seen += looked; gone == 0 && seen > lateGrain {
			return nil
		}
	}
	return nil
}

// lookAtMembers reads on in each share, and returns those that have more to look at. At
// its end a share begins again, in the next sweep.
func (w *Sweeper) lookAtMembers(ctx context.Context, part []members) (rest []members, looked, gone int, err error) {
	var exceptions []int64
	var lanes []int16
	var destinations []int32
	var after []Seq
	for _, m := range part {
		exceptions, lanes = append(exceptions, m.exception), append(lanes, m.lane)
		destinations, after = append(destinations, m.destination), append(after, w.late.members[m.memberKey])
	}
	limit := min(max(lateRows/len(part), 8), 1024)
	rows, err := w.pool.Query(ctx, lateMembersSQL, exceptions, lanes, destinations, after, limit)
	if err != nil {
		return nil, 0, 0, err
	}
	read := make([]int, len(part))
	last := make([]Seq, len(part))
	left := make(map[int64]*lateGroup)
	var ord int32
	var seq Seq
	var over bool
	_, err = pgx.ForEachRow(rows, []any{&ord, &seq, &over}, func() error {
		m := part[ord]
		read[ord]++
		last[ord] = seq
		looked++
		if over {
			gone++
			g := left[m.exception]
			if g == nil {
				g = &lateGroup{Deadline: Deadline{Destination: m.destination}}
				left[m.exception] = g
			}
			g.lanes, g.seqs = append(g.lanes, m.lane), append(g.seqs, seq)
		}
		return nil
	})
	if err != nil {
		return nil, 0, 0, err
	}
	for exception, g := range left {
		batch := &pgx.Batch{} // one transaction
		batch.Queue(lockExceptionSQL, exception)
		batch.Queue(leaveLateSQL, exception, g.Destination, g.lanes, g.seqs)
		if err := w.pool.SendBatch(ctx, batch).Close(); err != nil {
			return nil, 0, 0, err
		}
	}
	for i, m := range part {
		w.late.members[m.memberKey] = last[i]
		if read[i] == limit {
			rest = append(rest, m)
		} else {
			w.late.members[m.memberKey] = 0
		}
	}
	return rest, looked, gone, nil
}
