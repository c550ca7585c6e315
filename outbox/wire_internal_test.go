package outbox

import (
	"cmp"
	"testing"
)

// Postgres gives them in order, as it searches now: nothing but this brings them into it if
// it ever does not.
func TestInOrder(t *testing.T) {
	t.Parallel()
	found := [][]Delivery{{{Seq: 3}, {Seq: 1}, {Seq: 2}}, nil, {{Seq: 2}, {Seq: 1}}}
	inOrder(found, func(a, b *Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, rows := range found {
		for i := range rows {
			if rows[i].Seq != Seq(i+1) {
				t.Errorf("at %d is %d", i, rows[i].Seq)
			}
		}
	}
}
