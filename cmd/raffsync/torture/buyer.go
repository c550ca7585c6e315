package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// buyer is a person who says what the orders' platform calls what is sold: for each SKU in
// a moment of its own, mostly just when it is first asked for, sometimes long after.
type buyer struct {
	operator    *operator
	destination string
	mapped      atomic.Int64

	mu      sync.Mutex
	random  *rand.Rand
	known   map[string]bool
	waiting []purchase
}

type purchase struct {
	sku string
	at  time.Time
}

const (
	mappingTable   = "sku"
	soon, whenever = 80 * time.Millisecond, 2 * time.Second
	lateEvery      = 5 // of the SKUs
	buyerEvery     = 10 * time.Millisecond
	setMappingCall = `mutation Map($input: SetMappingInput!) { setMapping(input: $input) { userErrors { message } } }`
)

func newBuyer(o *operator, destination string, seed uint64) *buyer {
	b := &buyer{operator: o, destination: destination, random: rand.New(rand.NewPCG(seed, 7)), known: map[string]bool{wrongSKU: true}}
	b.sold(rightSKU)
	return b
}

// sold notes that the SKU is about to be asked for.
func (b *buyer) sold(sku string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known[sku] {
		return
	}
	b.known[sku] = true
	most := soon
	if b.random.IntN(lateEvery) == 0 {
		most = whenever
	}
	b.waiting = append(b.waiting, purchase{sku, time.Now().Add(time.Duration(b.random.Int64N(int64(most))))})
}

// keep maps what is due until the context ends.
func (b *buyer) keep(ctx context.Context) {
	for ctx.Err() == nil {
		for _, sku := range b.due() {
			for b.set(ctx, sku) != nil && ctx.Err() == nil {
				pause(ctx, buyerEvery) // whoever was asked may be dead
			}
		}
		pause(ctx, buyerEvery)
	}
}

func (b *buyer) due() (skus []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var later []purchase
	for _, p := range b.waiting {
		if time.Now().Before(p.at) {
			later = append(later, p)
			continue
		}
		skus = append(skus, p.sku)
	}
	b.waiting = later
	return skus
}

func (b *buyer) set(ctx context.Context, sku string) error {
	var done struct {
		SetMapping struct{ UserErrors []struct{ Message string } }
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second) // whoever is asked may be frozen
	defer cancel()
	err := b.operator.ask(ctx, setMappingCall, map[string]any{"input": map[string]any{
		"requestId": "torture-" + sku, "table": mappingTable, "destination": b.destination,
		"entries": []any{map[string]any{"value": sku, "target": itemOf(sku)}}, "reason": "it is sold",
	}}, &done)
	if err != nil {
		return err
	}
	if e := done.SetMapping.UserErrors; len(e) > 0 {
		return fmt.Errorf("map %s: %s", sku, e[0].Message)
	}
	b.mapped.Add(1)
	return nil
}
