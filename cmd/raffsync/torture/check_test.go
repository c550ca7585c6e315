package torture

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// innocent is the evidence of one event that went well at one platform.
func innocent() *evidence {
	hash := sha256.Sum256([]byte("data"))
	started := at(20)
	p := &platform{name: "books", recognises: true}
	p.requests = []request{{At: at(21), Key: "k", Event: "e", Ordering: "order/1", Hash: hex.EncodeToString(hash[:]), Effect: true}}
	d := delivery{1, "books"}
	return &evidence{
		sent:     map[string]*sent{"e": {ID: "e", Key: "order/1", Hash: hash, Client: "a", SentAt: at(0), AckedAt: at(10)}},
		events:   []storedEvent{{ID: "e", Key: "order/1", Seq: 1, Hash: hash[:]}},
		accepted: map[int64]int{1: 1},
		entries: map[delivery][]entry{d: {
			{Event: 1, Destination: "books", What: "attempt", State: "DELIVERED", Attempt: 1, StartedAt: &started, At: at(30), Reason: "200 OK"},
		}},
		open: map[delivery]openDelivery{}, platforms: []*platform{p}, replicas: 1,
	}
}

// waited is an attempt that did not end its delivery.
func waited(t entry) entry {
	t.State = "WAITING"
	return t
}

// The checker accuses nobody without cause, and whoever gives it one.
func TestEvidence_Check(t *testing.T) {
	d := delivery{1, "books"}
	sample := "why"
	for name, c := range map[string]struct {
		tamper func(*evidence)
		want   promise
	}{
		"nothing":                     {func(*evidence) {}, ""},
		"an event is gone":            {func(e *evidence) { e.events = nil; e.entries = nil; e.platforms[0].requests = nil }, durable},
		"its content is another":      {func(e *evidence) { e.events[0].Hash = []byte("other") }, durable},
		"its ordering key is another": {func(e *evidence) { e.events[0].Key = "order/2" }, durable},
		"nobody sent it":              {func(e *evidence) { e.sent = nil; e.platforms[0].requests = nil; e.entries[d][0].State = "WAITING" }, durable},
		"two events of an id": {func(e *evidence) {
			e.events = append(e.events, storedEvent{ID: "e", Key: "order/1", Seq: 2, Hash: e.events[0].Hash})
		}, idempotent},
		"a conflict is not kept": {func(e *evidence) { e.seconds = map[[sha256.Size]byte]string{{1}: "e"} }, conflicts},
		"no accepted entry":      {func(e *evidence) { e.accepted = nil }, whole},
		"no delivery":            {func(e *evidence) { e.entries = nil; e.platforms[0].requests = nil }, whole},
		"open and ended":         {func(e *evidence) { e.open[d] = openDelivery{Event: 1, Destination: "books", Requests: 1} }, whole},
		"ended twice":            {func(e *evidence) { e.entries[d] = append(e.entries[d], e.entries[d][0]) }, whole},
		"an attempt is missing":  {func(e *evidence) { e.entries[d][0].Attempt = 2 }, timeline},
		"an attempt twice":       {func(e *evidence) { e.entries[d] = append([]entry{waited(e.entries[d][0])}, e.entries[d]...) }, timeline},
		"one that was not sent": {func(e *evidence) {
			unsent := waited(e.entries[d][0])
			unsent.StartedAt, unsent.Attempt = nil, 0
			e.entries[d] = append([]entry{unsent}, e.entries[d]...)
		}, ""},
		"one that was not sent counts": {func(e *evidence) {
			unsent := waited(e.entries[d][0])
			unsent.StartedAt = nil
			e.entries[d] = append([]entry{unsent}, e.entries[d]...)
		}, timeline},
		"an attempt has no reason": {func(e *evidence) { e.entries[d][0].Reason = "" }, timeline},
		"an entry was changed":     {func(e *evidence) { e.changed = map[int64]string{7: "was changed"} }, timeline},
		"forgotten": {func(e *evidence) {
			e.entries[d][0].State = "WAITING"
			e.open[d] = openDelivery{Event: 1, Destination: "books", State: 1, Requests: 1}
		}, progress},
		"held without a reason": {func(e *evidence) {
			e.entries[d][0].State = "NEEDS_ACTION"
			e.open[d] = openDelivery{Event: 1, Destination: "books", State: openStateHeld, Requests: 1}
		}, progress},
		"held where all was released": {func(e *evidence) {
			e.entries[d][0].State = "NEEDS_ACTION"
			e.open[d] = openDelivery{Event: 1, Destination: "books", State: openStateHeld, Requests: 1, Sample: &sample}
		}, progress},
		"held, where that is allowed": {func(e *evidence) {
			e.passes = map[string]bool{"books": true}
			e.entries[d][0].State = "NEEDS_ACTION"
			e.open[d] = openDelivery{Event: 1, Destination: "books", State: openStateHeld, Requests: 1, Sample: &sample}
		}, ""},
		"two effects": {func(e *evidence) {
			e.platforms[0].requests = append(e.platforms[0].requests, e.platforms[0].requests[0])
		}, oneEffect},
		"delivered without effect": {func(e *evidence) { e.platforms[0].requests = nil }, oneEffect},
		"an effect of other data":  {func(e *evidence) { e.platforms[0].requests[0].Hash = "" }, oneEffect},
		"a request too many": {func(e *evidence) {
			again := e.platforms[0].requests[0]
			again.Effect = false
			e.platforms[0].requests = append(e.platforms[0].requests, again)
		}, intent},
		"a request for nothing":  {func(e *evidence) { e.platforms[0].requests = append(e.platforms[0].requests, request{Event: "x"}) }, intent},
		"a redirect is followed": {func(e *evidence) { e.platforms[0].canary.Add(1) }, egress},
		"a wrong answer":         {func(e *evidence) { e.protests = []string{"odd"} }, answers},
		"a breaker that holds nothing back": {func(e *evidence) {
			p := e.platforms[0]
			p.storms = []storm{{status: 503, from: at(1000), to: at(5000)}}
			e.passes = map[string]bool{"books": true}
			for range 500 {
				p.requests = append(p.requests, request{At: at(4000), Event: "e"})
			}
		}, breaker},
	} {
		t.Run(name, func(t *testing.T) {
			e := innocent()
			c.tamper(e)
			var r Report
			e.check(&r)
			if c.want == "" && len(r.Violations) > 0 {
				t.Errorf("accused: %+v", r.Violations)
			}
			if c.want != "" && r.of(c.want) == 0 {
				t.Errorf("not caught: %s; violations %+v", c.want, r.Violations)
			}
		})
	}
}

// ordered is the evidence of one order that went well: event e placed order 0, event f of
// another client, which came later, found it there.
func ordered() *evidence {
	started, asked := at(20), at(40)
	p := &platform{name: "orders", effectsOf: orderEffects}
	p.requests = []request{
		{At: at(21), Key: "r0", Event: "e", Ordering: "order/1", Asks: "order/0", Item: itemWanted(0), Effect: true},
		{At: at(41), Key: "r1", Event: "e", Ordering: "order/1", Asks: "invoice/0", Of: "r0", Effect: true},
	}
	there := func(event int64, step int, state string) entry {
		return entry{Event: event, Destination: "orders", What: "effect", State: state, Step: step, At: at(60), Reason: "it is there"}
	}
	return &evidence{
		sent: map[string]*sent{
			"e": {ID: "e", Key: "order/1", Client: "a", SentAt: at(0), AckedAt: at(10)},
			"f": {ID: "f", Key: "order/2", Client: "b", SentAt: at(0), AckedAt: at(10)},
		},
		events:   []storedEvent{{ID: "e", Key: "order/1", Seq: 1, Hash: make([]byte, 32)}, {ID: "f", Key: "order/2", Seq: 2, Hash: make([]byte, 32)}},
		accepted: map[int64]int{1: 1, 2: 1},
		entries: map[delivery][]entry{
			{1, "orders"}: {
				{Event: 1, Destination: "orders", What: "attempt", State: "PENDING", Attempt: 1, StartedAt: &started, At: at(30), Reason: "200 OK"},
				{Event: 1, Destination: "orders", What: "attempt", State: "DELIVERED", Attempt: 1, StartedAt: &asked, At: at(50), Reason: "200 OK", Step: 1},
			},
			{2, "orders"}: {there(2, 0, "PENDING"), there(2, 1, "DELIVERED")},
		},
		open: map[delivery]openDelivery{}, platforms: []*platform{p}, replicas: 1, mapped: "orders",
	}
}

// What the later parts promise is held against what orders' platform saw.
func TestEvidence_CheckOrders(t *testing.T) {
	second := delivery{2, "orders"}
	sample := "nothing is mapped"
	for name, c := range map[string]struct {
		tamper func(e *evidence, requests *[]request)
		want   promise
	}{
		"nothing": {func(*evidence, *[]request) {}, ""},
		"two orders of two events": {func(_ *evidence, r *[]request) {
			*r = append(*r, request{At: at(22), Key: "r0", Event: "f", Ordering: "order/2", Asks: "order/0", Item: itemWanted(0), Effect: true})
		}, oneOrder},
		"another item":             {func(_ *evidence, r *[]request) { (*r)[0].Item = "item/sku-9" }, oneOrder},
		"an invoice for nothing":   {func(_ *evidence, r *[]request) { (*r)[1].Of = "r7" }, oneOrder},
		"not what it is about":     {func(_ *evidence, r *[]request) { (*r)[1].Asks = "invoice/7" }, oneOrder},
		"no invoice":               {func(_ *evidence, r *[]request) { *r = (*r)[:1] }, oneEffect},
		"attempts of a step twice": {func(e *evidence, _ *[]request) { e.entries[delivery{1, "orders"}][1].Step = 0 }, timeline},
		"a mapping is not heard of": {func(e *evidence, _ *[]request) {
			e.entries[second] = nil
			e.open[second] = openDelivery{Event: 2, Destination: "orders", State: openStateHeld, Sample: &sample, Class: skuUnmapped}
		}, released},
		"an edit is not heard of": {func(e *evidence, _ *[]request) {
			e.sent["f"].Number = (wrongEvery - 1) * eventsOfOrder
			e.entries[second] = nil
			e.open[second] = openDelivery{Event: 2, Destination: "orders", State: openStateHeld, Sample: &sample, Class: skuUnmapped}
		}, edited},
		"held by something else": {func(e *evidence, _ *[]request) {
			e.entries[second] = nil
			e.open[second] = openDelivery{Event: 2, Destination: "orders", State: openStateHeld, Sample: &sample, Class: "VALIDATION"}
		}, progress},
		"counted wrongly":      {func(e *evidence, _ *[]request) { e.miscounts = []string{"3, and holds 2"} }, counts},
		"another holds a lane": {func(e *evidence, _ *[]request) { e.trespasses = []string{"an intent"} }, fencing},
		"a shadow is sent":     {func(e *evidence, _ *[]request) { e.platforms[0].shadowed = true }, shadowed},
	} {
		t.Run(name, func(t *testing.T) {
			e := ordered()
			c.tamper(e, &e.platforms[0].requests)
			var r Report
			e.check(&r)
			if c.want == "" && len(r.Violations) > 0 {
				t.Errorf("accused: %+v", r.Violations)
			}
			if c.want != "" && r.of(c.want) == 0 {
				t.Errorf("not caught: %s; violations %+v", c.want, r.Violations)
			}
		})
	}
}
