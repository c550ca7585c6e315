package view

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestException_Command(t *testing.T) {
	text := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		exception Exception
		command   string
	}{
		"Plain":        {Exception{Field: "sku", Code: "ICE-1", LookedUp: text("ICE-1"), Destination: text("books")}, `raffsync mappings set books sku ICE-1=TARGET --reason WHY`},
		"ForAShell":    {Exception{Field: "sku", Code: "Es teh 'manis'", LookedUp: text("Es teh 'manis'"), Destination: text("books")}, `raffsync mappings set books sku 'Es teh '\''manis'\''=TARGET' --reason WHY`},
		"LikeAFlag":    {Exception{Field: "tax", Code: "-x", LookedUp: text("-x"), Destination: text("books")}, `raffsync mappings set books tax '-x=TARGET' --reason WHY`},
		"WithItsSign":  {Exception{Field: "sku", Code: "a=b", LookedUp: text("a=b"), Destination: text("books")}, `raffsync mappings import books sku FILE --reason WHY`},
		"CutInCode":    {Exception{Field: "sku", Code: "abc…12", LookedUp: text("abcdef"), Destination: text("books")}, `raffsync mappings set books sku abcdef=TARGET --reason WHY`},
		"Unauthorised": {Exception{HoldsDestination: true, Destination: text("books")}, `raffsync resume authorisation books --reason WHY`},
		"OnlyDefault":  {Exception{Field: "sku", Code: "abc…12", LookedUp: text(""), Destination: text("books")}, `raffsync mappings set books sku 'abc…12=TARGET' --reason WHY`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := *c.exception.Command(); got != c.command {
				t.Errorf("the command is %s, want %s", got, c.command)
			}
		})
	}
	refused := Exception{Field: "sku", Destination: text("books")}
	if refused.Gap() != nil || refused.Command() != nil {
		t.Errorf("what is no look-up has the gap %+v, and the command %v", refused.Gap(), refused.Command())
	}
}

// A delivery that hangs on three causes shows all of them, the open ones first, and is
// listed once.
func TestTx_SeveralCausesOfOneDelivery(t *testing.T) {
	h := openHouse(t, 2)
	books := h.destination(t, "kopi", "books")
	event := h.event(t, seeded{seq: 1<<40 + 1, key: "order/7"})
	h.deliver(t, "kopi", event, books)
	var causes []int64
	for _, sku := range []string{"TEA", "ICE", "MILK"} {
		causes = append(causes, h.number(t, `INSERT INTO exceptions (tenant, class, destination, rule, field, code, looked_up, held) VALUES ('kopi', 'SKU_UNMAPPED', $1, 'look-up', 'sku', $2, $2, 1) RETURNING id`, books, sku))
	}
	h.exec(t, `UPDATE exceptions SET status = 'RESOLVED', closed_at = now() WHERE code = 'TEA'`)
	h.exec(t, `UPDATE deliveries SET state = 2, exception = $1`, causes[1])
	h.exec(t, `INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT x.id, lane, d.destination, seq, d.tenant FROM deliveries d, exceptions x`)
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		page, err := tx.OpenDeliveries(ctx, OpenFilter{State: NeedsAction}, 10, "")
		if err != nil {
			return err
		}
		if len(page.Nodes) != 1 || page.HasNext {
			t.Fatalf("%d are listed, want the one, once", len(page.Nodes))
		}
		if diff := cmp.Diff([]int64{causes[1], causes[2], causes[0]}, page.Nodes[0].Exceptions); diff != "" {
			t.Errorf("its causes (-want +got):\n%s", diff)
		}
		held, err := tx.Held(ctx, []HeldBy{{Exception: causes[2], First: 10}})
		if err == nil && (len(held[0].Nodes) != 1 || held[0].Nodes[0].Exception != causes[1]) {
			t.Errorf("the last cause holds %+v", held[0].Nodes)
		}
		return err
	})
}
