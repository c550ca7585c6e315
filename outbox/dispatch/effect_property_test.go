package dispatch_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"

	"raffsync/connectors"
)

// ledgerWorld is two replicas on one database, without their loops: what is done when is
// drawn. Its platform makes something of every request, and can be asked. Every event of an
// effect has a key of its own, so that nothing but the ledger keeps them apart.
type ledgerWorld struct {
	t        *rapid.T
	b        *bench
	replicas []*ledgerReplica
	number   int
	run      int
	effects  map[outbox.Seq]string // of events
	made     map[string]int        // by the platform
	prepared []*ledgerFlight       // and not intended yet
	flights  []*ledgerFlight
	failed   bool
}

type ledgerReplica struct {
	*outbox.Replica
	lanes map[int16]outbox.Lease
}

type ledgerFlight struct {
	by       *ledgerReplica
	delivery *outbox.Delivery
	attempt  dispatch.Attempt
	found    bool // what was asked about was there when the question came
	arrived  bool
}

var ledgerPolicy = dispatch.Policy{
	Retry: outbox.RetryConfig{Initial: time.Nanosecond, Factor: 1, Cap: time.Nanosecond, Attempts: 1000, Age: 1000 * time.Hour}, Asks: true,
	Steps: []dispatch.Step{{Name: "order", IfExists: outbox.SkipExisting}},
}

func (w *ledgerWorld) check(err error) {
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *ledgerWorld) join() *ledgerReplica {
	r, err := w.b.store.Join(w.b.t.Context())
	w.check(err)
	return &ledgerReplica{Replica: r, lanes: make(map[int16]outbox.Lease)}
}

// spread shares the lanes, and settles what a dead owner left, as [dispatch] does.
func (w *ledgerWorld) spread() {
	for range 4 {
		for _, r := range w.replicas {
			taken, excess, err := r.Spread(w.b.t.Context(), slices.Collect(maps.Keys(r.lanes)))
			w.check(err)
			var lanes []int16
			for _, l := range taken {
				r.lanes[l.Lane], lanes = l, append(lanes, l.Lane)
			}
			if len(lanes) > 0 {
				w.recover(r, lanes)
			}
			busy := make(map[int16]bool)
			for _, f := range append(slices.Clone(w.flights), w.prepared...) {
				busy[f.delivery.Lane] = true
			}
			for lane, l := range r.lanes {
				if excess > 0 && !busy[lane] {
					w.check(r.Release(w.b.t.Context(), []outbox.Lease{l}))
					delete(r.lanes, lane)
					excess--
				}
			}
		}
	}
}

func (w *ledgerWorld) recover(r *ledgerReplica, lanes []int16) {
	for row := (&outbox.IntentRow{}); row != nil; {
		orphans, next, err := r.Orphans(w.b.t.Context(), lanes, *row)
		w.check(err)
		for i := range orphans {
			w.finish(r, &orphans[i].Delivery, dispatch.Attempt{Sent: true, StartedAt: orphans[i].IntendedAt, Outcome: noAnswer})
		}
		row = next
	}
}

func (w *ledgerWorld) finish(r *ledgerReplica, d *outbox.Delivery, a dispatch.Attempt) {
	_, err := r.Finish(w.b.t.Context(), []outbox.Lease{r.lanes[d.Lane]}, []outbox.Transition{dispatch.Decide(d, a, ledgerPolicy, r.Now(), 0)})
	w.check(err)
}

// publish accepts an event of one of three effects.
func (w *ledgerWorld) publish() {
	w.number++
	id := fmt.Sprintf("run %d, event %d", w.run, w.number)
	w.b.append(w.b.snapshot("sales", id, id, fmt.Sprint(rapid.IntRange(1, 3).Draw(w.t, "effect")), "x"))
	seq := value[int64](w.b, `SELECT seq FROM events WHERE id = $1`, id)
	w.effects[outbox.Seq(seq)] = value[string](w.b, `SELECT 'order/' || (convert_from(payload, 'UTF8')::json ->> 'order') || $2 FROM events WHERE id = $1`, id, fmt.Sprint(" of run ", w.run))
}

// open are the deliveries that a replica may take up: not on the wire, held or waiting.
func (w *ledgerWorld) open(r *ledgerReplica) []*outbox.Delivery {
	writers, err := r.Writers(w.b.t.Context())
	w.check(err)
	var ranges []outbox.Range
	for lane := range r.lanes {
		for _, writer := range writers {
			ranges = append(ranges, outbox.Range{Lane: lane, Destination: w.b.destination("books").ID, Writer: writer.Writer, Limit: 1000})
		}
	}
	found, _, err := r.Read(w.b.t.Context(), writers, ranges)
	w.check(err)
	var open []*outbox.Delivery
	for _, rows := range found {
		for i := range rows {
			flying := slices.ContainsFunc(append(slices.Clone(w.flights), w.prepared...), func(f *ledgerFlight) bool { return f.delivery.Seq == rows[i].Seq })
			if rows[i].State == outbox.Pending && !flying {
				open = append(open, &rows[i])
			}
		}
	}
	slices.SortFunc(open, func(a, b *outbox.Delivery) int { return int(a.Seq - b.Seq) })
	return open
}

// prepare takes up one delivery, and reads what is there of its effect.
func (w *ledgerWorld) prepare(r *ledgerReplica, d *outbox.Delivery) {
	name := w.effects[d.Event]
	effects, err := r.Effects(w.b.t.Context(), []outbox.EffectName{{Tenant: d.Tenant, Destination: d.Destination, Effect: name}})
	w.check(err)
	f := &ledgerFlight{by: r, delivery: d, attempt: dispatch.Attempt{Effect: &dispatch.AttemptEffect{Name: name, Source: "till", Event: fmt.Sprint(d.Event)}}}
	if e := effects[0]; e != nil && e.Revision > 0 {
		f.attempt.Effect.Existing, f.attempt.Kind = e, raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
		w.finish(r, d, f.attempt)
		return
	}
	w.prepared = append(w.prepared, f)
}

// intend has the first that is prepared go on the wire, or wait, or inherit a doubt.
func (w *ledgerWorld) intend() {
	f, d := w.prepared[0], w.prepared[0].delivery
	w.prepared = w.prepared[1:]
	b, claimed, err := f.by.IntendClaiming(w.b.t.Context(), f.by.NextBatch(), []outbox.Lease{f.by.lanes[d.Lane]}, []*outbox.Delivery{d},
		[]outbox.Claim{{Effect: f.attempt.Effect.Name, Key: fmt.Sprint(d.Event)}})
	w.check(err)
	c := claimed[d.Position()]
	d.Claimed = d.Claimed || c.Won
	switch {
	case b.Announces(d):
		f.attempt.Sent, f.attempt.StartedAt, f.attempt.Asked = true, b.At, d.UnknownAt != nil
		w.flights = append(w.flights, f)
	case c.UnknownAt != nil:
		f.attempt.Effect.InheritedAt, f.attempt.Kind = c.UnknownAt, raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
		w.finish(f.by, d, f.attempt)
	}
}

// arrive has the platform see a request or a question.
func (w *ledgerWorld) arrive(f *ledgerFlight) {
	name := f.attempt.Effect.Name
	if f.arrived {
		return
	}
	f.arrived = true
	if f.attempt.Asked {
		f.found = w.made[name] > 0
		return
	}
	w.made[name]++
}

// land stores what came of a flight: an answer, or that there was none.
func (w *ledgerWorld) land(i int, answered bool) {
	f := w.flights[i]
	w.flights = slices.Delete(w.flights, i, i+1)
	a := f.attempt
	switch {
	case !answered || !f.arrived:
		a.Outcome = noAnswer
	case a.Asked && f.found:
		a.Finding, a.Outcome = connectors.Found, delivered
	case a.Asked:
		a.Finding = connectors.Absent
	default:
		a.Outcome = delivered
	}
	w.finish(f.by, f.delivery, a)
}

// kill ends a replica; what it had on the wire has arrived, or never will.
func (w *ledgerWorld) kill(i int) {
	dead := w.replicas[i]
	dead.Abandon()
	w.flights = slices.DeleteFunc(w.flights, func(f *ledgerFlight) bool {
		if f.by == dead && rapid.Bool().Draw(w.t, "arrives") {
			w.arrive(f)
		}
		return f.by == dead
	})
	w.prepared = slices.DeleteFunc(w.prepared, func(f *ledgerFlight) bool { return f.by == dead })
	_, err := w.b.db.Exec(w.b.t.Context(), `UPDATE replicas SET lease_until = '-infinity' WHERE id = $1`, dead.ID())
	w.check(err)
	w.replicas[i] = w.join()
	for w.spread(); len(w.replicas[0].lanes)+len(w.replicas[1].lanes) < w.b.store.Lanes(); w.spread() {
	}
}

// skip has an operator end a delivery that is not on the wire.
func (w *ledgerWorld) skip() {
	var all []*outbox.Delivery
	for _, r := range w.replicas {
		all = append(all, w.open(r)...)
	}
	if len(all) == 0 {
		return
	}
	doubtful := slices.DeleteFunc(slices.Clone(all), func(d *outbox.Delivery) bool { return d.UnknownAt == nil })
	if len(doubtful) > 0 {
		all = doubtful
	}
	w.number++
	d := rapid.SampledFrom(all).Draw(w.t, "skipped")
	_, err := w.b.store.Skip(w.b.t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.OperatorRequest{
		RequestID: fmt.Sprint("run ", w.run, " skip ", w.number), ExpectedVersion: d.Version, Reason: "by hand",
		Delivery: outbox.DeliveryID{Event: outbox.EventID{AcceptedAt: d.EventAt, Seq: d.Event}, Destination: d.Destination},
	})
	w.check(err)
}

func (w *ledgerWorld) prepareOne(r *ledgerReplica) {
	if open := w.open(r); len(open) > 0 {
		w.prepare(r, rapid.SampledFrom(open).Draw(w.t, "delivery"))
	}
}

// Whatever comes when, over two replicas that die and operators who skip: an effect is
// brought about at most once at a platform that recognises no repeats, as long as it can be
// asked; and exactly once where any event of it is delivered.
func TestEffects_AreBroughtAboutOnce(t *testing.T) {
	t.Parallel()
	b, _ := newShop(t, outbox.SkipExisting)
	// Nobody renews leases here, and only those who are killed lose theirs.
	store, err := outbox.Open(t.Context(), outbox.Config{DSN: b.dsn, AllowUnsafe: true, Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	b.store = store
	const runs = 25 // of a few hundred statements each
	w := &ledgerWorld{b: b}
	rapid.Check(t, func(t *rapid.T) {
		w.t = t
		if w.run++; w.run > runs && !w.failed {
			return
		}
		defer func() { w.failed = w.failed || t.Failed() }()
		if w.failed { // what is left of the run that failed is in the way of shrinking it
			_, err := b.db.Exec(b.t.Context(), `TRUNCATE deliveries, due, intents, effects, effect_waits`)
			w.check(err)
		}
		w.t, w.number, w.effects, w.made, w.flights, w.prepared = t, 0, make(map[outbox.Seq]string), make(map[string]int), nil, nil
		if w.replicas == nil {
			w.replicas = []*ledgerReplica{w.join(), w.join()}
		}
		w.spread()
		for range rapid.IntRange(10, 40).Draw(t, "acts") {
			r := rapid.SampledFrom(w.replicas).Draw(t, "replica")
			switch act := rapid.IntRange(0, 20).Draw(t, "act"); {
			case act < 6:
				w.publish()
			case act < 10:
				w.prepareOne(r)
			case act < 13 && len(w.prepared) > 0:
				w.intend()
			case act < 15 && len(w.flights) > 0:
				w.arrive(rapid.SampledFrom(w.flights).Draw(t, "arriving"))
			case act < 19 && len(w.flights) > 0:
				i := rapid.IntRange(0, len(w.flights)-1).Draw(t, "landing")
				if rapid.Bool().Draw(t, "on its way") {
					w.arrive(w.flights[i])
				}
				w.land(i, rapid.Bool().Draw(t, "answered"))
			case act == 19:
				w.skip()
			case act == 20:
				w.kill(rapid.IntRange(0, 1).Draw(t, "dead"))
			}
		}
		w.drain()
	})
	for _, r := range w.replicas {
		r.Abandon()
	}
}

// drain lets everything come to its end, and looks at what has become of it.
func (w *ledgerWorld) drain() {
	for value[int](w.b, `SELECT count(*) FROM deliveries`) > 0 {
		for len(w.prepared) > 0 {
			w.intend()
		}
		for len(w.flights) > 0 {
			w.arrive(w.flights[0])
			w.land(0, true)
		}
		for _, r := range w.replicas {
			for _, d := range w.open(r) {
				w.prepare(r, d)
			}
		}
	}
	for name, n := range w.made {
		if n > 1 {
			w.t.Fatalf("%s was brought about %d times", name, n)
		}
	}
	type row struct {
		Effect   string
		Revision int
	}
	for _, r := range values[row](w.b, `SELECT effect, revision FROM effects WHERE effect LIKE '%' || $1`, fmt.Sprint(" of run ", w.run)) {
		if r.Revision != w.made[r.Effect] && r.Revision > 0 {
			w.t.Fatalf("the ledger has %s at revision %d, and the platform %d", r.Effect, r.Revision, w.made[r.Effect])
		}
	}
	if n := value[int](w.b, `SELECT count(*) FROM effects WHERE lane IS NOT NULL`); n > 0 {
		w.t.Fatalf("%d claims are left", n)
	}
}
