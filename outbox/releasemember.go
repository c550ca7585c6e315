package outbox

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// memberColumns are members turned on their side for unnest, each delivery once.
type memberColumns struct {
	lanes        []int16
	destinations []int32
	seqs         []Seq
	exceptions   []int64
	reasons      []string
	actors       []*string
	seen         map[Position]bool
}

func (m *heldMember) position() Position { return Position{m.Lane, m.Destination, m.Seq} }

func (c *memberColumns) add(m heldMember, page releases) {
	if c.seen == nil {
		c.seen = make(map[Position]bool)
	}
	if c.seen[m.position()] {
		return // two of its causes go at once
	}
	c.seen[m.position()] = true
	order := page.of[m.Exception]
	c.lanes, c.destinations, c.seqs = append(c.lanes, m.Lane), append(c.destinations, m.Destination), append(c.seqs, m.Seq)
	c.exceptions, c.reasons, c.actors = append(c.exceptions, m.Exception), append(c.reasons, order.reason), append(c.actors, order.actor)
}

func (c *memberColumns) free(ctx context.Context, tx pgx.Tx) (freed setFree, err error) {
	if len(c.seqs) == 0 {
		return freed, nil
	}
	rows, err := tx.Query(ctx, freeSQL, c.lanes, c.destinations, c.seqs, c.exceptions, c.reasons, c.actors)
	if err != nil {
		return freed, err
	}
	return freed, freed.collect(rows)
}

func (f *setFree) collect(rows pgx.Rows) error {
	var tenant string
	var destination int32
	var n int64
	_, err := pgx.ForEachRow(rows, []any{&tenant, &destination, &n}, func() error {
		f.tenants, f.destinations, f.counts = append(f.tenants, tenant), append(f.destinations, destination), append(f.counts, n)
		f.n += int(n)
		return nil
	})
	return err
}
