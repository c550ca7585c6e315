package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// buyer is a person who says what the orders' platform calls what is sold, once somebody has
// asked for it in vain: mostly in the very moment, while others are about to, and sometimes
// long after.
type buyer struct {
	operator    *operator
	postgres    *postgres
	destination string
	mapped      atomic.Int64

	random *rand.Rand
	due    map[string]time.Time // by SKU; zero: done, or being asked for
	// asking is what is asked for by this request, until that is answered.
	asking  []any
	request string
}

const (
	mappingTable   = "sku"
	soon, whenever = 30 * time.Millisecond, 2 * time.Second
	lateEvery      = 5 // of the SKUs
	buyerEvery     = 5 * time.Millisecond
	missedSQL      = `SELECT DISTINCT looked_up FROM exceptions WHERE closed_at IS NULL AND looked_up <> $1`
	setMappingCall = `mutation Map($input: SetMappingInput!) { setMapping(input: $input) { userErrors { message } } }`
)

func newBuyer(o *operator, p *postgres, destination string, seed uint64) *buyer {
	return &buyer{operator: o, postgres: p, destination: destination, random: rand.New(rand.NewPCG(seed, 7)), due: make(map[string]time.Time)}
}

// keep maps what is missed until the context ends.
func (b *buyer) keep(ctx context.Context) {
	for ctx.Err() == nil {
		if conn, err := b.postgres.connect(ctx); err == nil {
			_ = b.watch(ctx, conn) // Postgres may end at any time: there is a next one
			_ = conn.Close(context.WithoutCancel(ctx))
		}
		pause(ctx, buyerEvery)
	}
}

func (b *buyer) watch(ctx context.Context, conn *pgx.Conn) error {
	for ; ctx.Err() == nil; pause(ctx, buyerEvery) {
		missed, err := collect[struct{ SKU string }](ctx, conn, missedSQL, wrongSKU)
		if err != nil {
			return err
		}
		for _, m := range missed {
			b.note(m.SKU)
		}
		if err := b.setDue(ctx); err != nil {
			b.operator.say("buyer: %v", err)
		}
	}
	return nil
}

func (b *buyer) note(sku string) {
	if _, known := b.due[sku]; known {
		return
	}
	most := soon
	if b.random.IntN(lateEvery) == 0 {
		most = whenever
	}
	b.due[sku] = time.Now().Add(time.Duration(b.random.Int64N(int64(most))))
}

// setDue maps all that is due at once, and the same again by the same name until it is done.
func (b *buyer) setDue(ctx context.Context) error {
	if len(b.asking) == 0 {
		for sku, at := range b.due {
			if !at.IsZero() && time.Now().After(at) {
				b.asking = append(b.asking, map[string]any{"value": sku, "target": itemOf(sku)})
				b.due[sku] = time.Time{}
			}
		}
		b.request = b.operator.next()
	}
	if len(b.asking) == 0 {
		return nil
	}
	var done struct{ SetMapping refused }
	ctx, cancel := context.WithTimeout(ctx, time.Second) // whoever is asked may be frozen
	defer cancel()
	err := b.operator.ask(ctx, setMappingCall, map[string]any{"input": map[string]any{
		"requestId": b.request, "table": mappingTable, "destination": b.destination, "entries": b.asking, "reason": "it is sold",
	}}, &done)
	if err != nil {
		return err
	}
	if why := done.SetMapping.UserErrors; len(why) > 0 {
		return fmt.Errorf("refused: %s", why[0].Message)
	}
	b.mapped.Add(int64(len(b.asking)))
	b.asking = nil
	return nil
}
