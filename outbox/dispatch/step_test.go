package dispatch_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

const storySQL = `SELECT concat_ws(' ', t.step, t.detail ->> 'step', t.what, t.attempt, CASE WHEN t.detail ? 'asked' THEN 'asked' END, t.kind, t.state, t.detail ->> 'effect', t.detail ->> 'externalId')
  FROM timeline t JOIN events e ON e.seq = t.event WHERE t.what <> 'accepted' AND e.id = $1 ORDER BY t.at, t.entry`

// The second step has the receipt of the first, and one timeline tells of both.
func TestDispatcher_GoesThroughTheSteps(t *testing.T) {
	t.Parallel()
	b, books := newShop(t, outbox.SkipExisting)
	b.start()
	b.append(b.snapshot("sales", "a", "order/1", "1", "x"), b.snapshot("sales", "b", "order/2", "2", "y"), b.snapshot("sales", "a again", "order/1", "1", "z"))
	b.untilDrained()
	got := books.texts()
	slices.Sort(got)
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what = 'effect'`); n != 2 {
		t.Errorf("%d steps were skipped, want 2", n)
	}
	if len(got) != 4 || got[0] != "invoices invoice/1 = x after "+idOf(books, "order/1")+" of x" {
		t.Errorf("the books have %q", got)
	}
	want := []string{
		"0 order attempt 1 1 PENDING order/1 " + idOf(books, "order/1"),
		"1 invoice attempt 1 1 DELIVERED invoice/1 " + idOf(books, "invoice/1"),
	}
	if diff := cmp.Diff(want, values[string](b, storySQL, "a")); diff != "" {
		t.Errorf("the story of a (-want +got):\n%s", diff)
	}
	want = []string{
		"0 order effect 1 PENDING order/1 " + idOf(books, "order/1"),
		"1 invoice effect 1 DELIVERED invoice/1 " + idOf(books, "invoice/1"),
	}
	if diff := cmp.Diff(want, values[string](b, storySQL, "a again")); diff != "" {
		t.Errorf("the story of a again (-want +got):\n%s", diff)
	}
	if n := value[int](b, `SELECT sum(delivered)::int FROM tallies`); n != 3 {
		t.Errorf("the tallies count %d, want 3 deliveries", n)
	}
	if n := value[int](b, `SELECT count(*) FROM effects WHERE revision = 1 AND lane IS NULL AND content IS NOT NULL AND event IN ('a', 'b')`); n != 4 {
		t.Errorf("%d effects in the ledger, want 4", n)
	}
}

func idOf(b *books, reference string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.documents, func(d document) bool { return d.Reference == reference })
	return b.documents[i].ID
}

// Followers of the key wait for the last step, and attempts of a step are its own.
func TestDispatcher_AKeyWaitsForTheLastStep(t *testing.T) {
	t.Parallel()
	b, books := newShop(t, outbox.SkipExisting)
	var order []string
	books.answer = func(n int, d document) (bool, int) {
		order = append(order, d.Reference)
		return n%3 == 0, map[bool]int{true: 201, false: 503}[n%3 == 0]
	}
	b.append(b.snapshot("sales", "a", "key", "1", "x"), b.snapshot("sales", "b", "key", "2", "y"))
	b.start()
	b.untilDrained()
	if diff := cmp.Diff([]string{"order/1", "invoice/1", "order/2", "invoice/2"}, slices.Compact(order)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	for _, kind := range []string{"PENDING", "DELIVERED"} {
		if n := value[int](b, `SELECT max(attempt) FROM timeline WHERE what = 'attempt' AND state = $1`, kind); n > 5 {
			t.Errorf("a step that is %s has %d requests: they are not its own", kind, n)
		}
	}
}

// A step that is held goes on where it stopped, with the receipts of those before it.
func TestDispatcher_ResumesAtTheStep(t *testing.T) {
	t.Parallel()
	b, books := newShop(t, outbox.SkipExisting)
	books.answer = func(n int, d document) (bool, int) {
		if n == 2 {
			return false, 422
		}
		return true, 201
	}
	b.append(b.snapshot("sales", "a", "order/1", "1", "x"))
	_, stop := b.start()
	b.until("the invoice is held", `SELECT count(*) = 1 FROM deliveries WHERE state = 2 AND step = 1 AND receipts ? 'order'`)
	stop()
	b.retry()
	b.start()
	b.untilDrained()
	if diff := cmp.Diff([]string{"orders order/1 = x", "invoices invoice/1 = x after orders-1 of x"}, books.texts()); diff != "" {
		t.Errorf("the books (-want +got):\n%s", diff)
	}
}

// Where a person says that the platform has what a step was for, the next one is sent with
// that receipt, and a later event of the effect finds it there.
func TestDispatcher_GoesOnWithWhatAPersonHasFound(t *testing.T) {
	t.Parallel()
	b, books := newShop(t, outbox.SkipExisting)
	books.answer = func(n int, _ document) (bool, int) { return n != 1, map[bool]int{true: 201, false: 422}[n != 1] }
	b.append(b.snapshot("sales", "a", "order/1", "1", "x"))
	_, stop := b.start()
	b.until("the order is held", `SELECT count(*) = 1 FROM deliveries WHERE state = 2 AND step = 0`)
	stop()
	d := b.held()
	q := outbox.MarkRequest{OperatorRequest: outbox.OperatorRequest{RequestID: "m", Delivery: d, ExpectedVersion: value[int32](b, `SELECT version FROM deliveries`), Reason: "entered by hand"}, Receipt: outbox.Receipt{ExternalID: "by-hand-1"}}
	if _, err := b.store.MarkDelivered(t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, q, outbox.StepUnderWay{Name: "order", Effect: "order/1", More: true}); err != nil {
		t.Fatal(err)
	}
	b.append(b.snapshot("sales", "b", "order/1", "1", "y"))
	b.start()
	b.untilDrained()
	if diff := cmp.Diff([]string{"invoices invoice/1 = x after by-hand-1"}, books.texts()); diff != "" {
		t.Errorf("the books (-want +got):\n%s", diff)
	}
}

// held is the one delivery that is open.
func (b *bench) held() outbox.DeliveryID {
	b.t.Helper()
	return outbox.DeliveryID{
		Event:       outbox.EventID{AcceptedAt: value[time.Time](b, `SELECT event_at FROM deliveries`), Seq: value[outbox.Seq](b, `SELECT event FROM deliveries`)},
		Destination: value[int32](b, `SELECT destination FROM deliveries`),
	}
}

// Nobody can say what is left to do of a delivery whose route has other steps by now.
func TestDispatcher_HoldsWhatHasOtherStepsByNow(t *testing.T) {
	t.Parallel()
	b, books := newShop(t, outbox.SkipExisting)
	books.answer = func(n int, _ document) (bool, int) { return n != 2, map[bool]int{true: 201, false: 422}[n != 2] }
	b.append(b.snapshot("sales", "a", "order/1", "1", "x"))
	_, stop := b.start()
	b.until("the invoice is held", `SELECT count(*) = 1 FROM deliveries WHERE state = 2 AND step = 1`)
	stop()
	route := b.plan.Routes[salesRoute]
	route.Steps = slices.Clone(route.Steps)
	slices.Reverse(route.Steps)
	b.plan.Routes[salesRoute] = route
	b.retry()
	b.start()
	b.until("it is held again", `SELECT count(*) = 1 FROM exceptions WHERE class = 'VALIDATION' AND rule = 'steps' AND code = 'sales' AND held = 1`)
	if n := len(books.texts()); n != 1 {
		t.Errorf("%d documents, want 1", n)
	}
}

func TestDispatcher_IfTheEffectExists(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ifExists outbox.IfExists
		bodies   []string
		books    []string
		revision int
		until    string
	}{
		{outbox.SkipExisting, []string{"x", "y"}, []string{"orders order/1 = x"}, 1, `SELECT NOT EXISTS (SELECT FROM deliveries)`},
		{outbox.UpdateExisting, []string{"x", "y", "y", "z"}, []string{"orders order/1 = z (2 updates)"}, 3, `SELECT NOT EXISTS (SELECT FROM deliveries)`},
		{outbox.RaiseExisting, []string{"x", "y"}, []string{"orders order/1 = x"}, 1, `SELECT count(*) = 1 FROM exceptions WHERE class = 'EFFECT_EXISTS' AND rule = 'effect' AND code = 'sales' AND field = 'order' AND held = 1`},
	} {
		t.Run(string(c.ifExists), func(t *testing.T) {
			t.Parallel()
			b, books := newShop(t, c.ifExists)
			route := b.plan.Routes[salesRoute]
			route.Steps = route.Steps[:1]
			b.plan.Routes[salesRoute] = route
			for i, body := range c.bodies {
				b.append(b.snapshot("sales", fmt.Sprint("e", i), "order/1", "1", body))
			}
			b.start()
			b.until("they are dealt with", c.until)
			if diff := cmp.Diff(c.books, books.texts()); diff != "" {
				t.Errorf("the books (-want +got):\n%s", diff)
			}
			if n := value[int](b, `SELECT revision FROM effects`); n != c.revision {
				t.Errorf("revision %d, want %d", n, c.revision)
			}
		})
	}
}

// An effect that has no name is an exception of its own.
func TestDispatcher_HoldsWhatHasNoNameForItsEffect(t *testing.T) {
	t.Parallel()
	b, books := newShop(t, outbox.SkipExisting)
	bad := b.snapshot("sales", "bad", "k1", "1", "x")
	bad.Event.Payload = []byte("x")
	long := b.snapshot("sales", "long", "k2", fmt.Sprintf("%0300d", 1), "x")
	b.append(bad, long, b.snapshot("sales", "panics", "k3", "panic", "x"), b.snapshot("sales", "good", "k4", "4", "x"))
	b.start()
	b.until("three are held, and the other delivered", `SELECT count(*) = 3 AND bool_and(state = 2) FROM deliveries`)
	if n := len(books.texts()); n != 2 {
		t.Errorf("%d documents, want 2", n)
	}
	want := []string{"POISON effect  1", "VALIDATION effect sales 2"}
	if diff := cmp.Diff(want, values[string](b, `SELECT concat_ws(' ', class, rule, code, held) FROM exceptions ORDER BY 1`)); diff != "" {
		t.Errorf("exceptions (-want +got):\n%s", diff)
	}
}

// Two events of one effect, by different keys: the second waits for the first, whose
// outcome is unknown, and is due once it is there.
func TestDispatcher_TwoKeysNeverBothSend(t *testing.T) {
	t.Parallel()
	b, books := newShop(t, outbox.SkipExisting)
	books.answer = func(n int, d document) (bool, int) {
		if n <= 2 { // the first request of each of two orders
			return true, hangUp
		}
		return true, 201
	}
	for i := range 8 {
		b.append(b.snapshot("sales", fmt.Sprint("e", i), fmt.Sprint("key/", i), fmt.Sprint(i%2), "x"))
	}
	b.start()
	b.until("six wait", `SELECT count(*) = 6 FROM effect_waits`)
	b.untilDrained()
	if n := len(books.texts()); n != 4 {
		t.Errorf("%d documents, want 4: %q", n, books.texts())
	}
	if n := value[int](b, `SELECT count(*) FROM effect_waits`) + value[int](b, `SELECT count(*) FROM effects WHERE lane IS NOT NULL`); n != 0 {
		t.Errorf("%d waits and claims are left", n)
	}
}

// One that is proven to have brought nothing about is in nobody's way while it is held; one
// that may have is, and when an operator ends it, the next one asks first.
func TestDispatcher_AClaimEndsWithItsDelivery(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		taken  bool
		asked  bool
	}{
		"refused":              {status: http.StatusUnprocessableEntity},
		"unknown, and taken":   {status: hangUp, taken: true, asked: true},
		"unknown, and dropped": {status: hangUp, asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, books := newShop(t, outbox.SkipExisting)
			route := b.plan.Routes[salesRoute]
			route.Steps, route.Retry.Attempts = route.Steps[:1], 1
			b.plan.Routes[salesRoute] = route
			mute := true
			books.answer = func(n int, _ document) (bool, int) {
				if n == 1 {
					return c.taken, c.status
				}
				return true, 201
			}
			b.destination("books").Connector = muted{bookkeeper{books}, &mute}
			b.append(b.snapshot("sales", "first", "key/1", "1", "x"))
			b.start()
			b.until("the first is held", `SELECT count(*) = 1 FROM deliveries WHERE state = 2`)
			b.append(b.snapshot("sales", "second", "key/2", "1", "y"))
			if c.asked {
				b.until("the second waits", `SELECT count(*) = 1 FROM effect_waits`)
				books.mu.Lock()
				mute = false
				books.mu.Unlock()
				b.skip(`state = 2`)
			}
			b.until("the second is delivered", `SELECT count(*) = 1 FROM timeline t JOIN events e ON e.seq = t.event WHERE e.id = 'second' AND t.state = 'DELIVERED'`)
			if n := len(books.texts()); n != 1 {
				t.Errorf("%d documents, want 1: %q", n, books.texts())
			}
			story := values[string](b, storySQL, "second")
			asked := slices.ContainsFunc(story, func(s string) bool { return len(s) > 24 && s[:24] == "0 order attempt 1 asked " })
			if asked != c.asked {
				t.Errorf("asked %v; the story of the second: %q", asked, story)
			}
		})
	}
}

// version and effects go together: an older snapshot is superseded before anybody looks at
// what is there.
func TestDispatcher_SupersedesBeforeItUpdates(t *testing.T) {
	t.Parallel()
	b, books := newShop(t, outbox.UpdateExisting)
	b.versioned("sales")
	b.append(b.snapshot("sales", "v2/a", "order/1", "1", "new"), b.snapshot("sales", "v1/b", "order/1", "1", "old"), b.snapshot("sales", "v3/c", "order/1", "1", "newer"))
	b.start()
	b.untilDrained()
	want := []string{"orders order/1 = newer (1 updates)", "invoices invoice/1 = newer after orders-1 of newer (1 updates)"}
	if diff := cmp.Diff(want, books.texts()); diff != "" {
		t.Errorf("the books (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0 order supersede SUPERSEDED"}, values[string](b, storySQL, "v1/b")); diff != "" {
		t.Errorf("the story (-want +got):\n%s", diff)
	}
}

// A claim that comes when another has just brought the effect about is not kept until the
// delivery's last step: its end would leave a doubt about an order that is known.
func TestFinish_WhatIsThereAlreadyEndsTheClaim(t *testing.T) {
	t.Parallel()
	b, _ := newShop(t, outbox.SkipExisting)
	b.append(b.snapshot("sales", "a", "order/1", "1", "x"), b.snapshot("sales", "b", "order/2", "1", "y"))
	r, err := b.store.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Abandon)
	leases, _, err := r.Spread(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	writers, err := r.Writers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ranges []outbox.Range
	for _, l := range leases {
		for _, writer := range writers {
			ranges = append(ranges, outbox.Range{Lane: l.Lane, Destination: b.destination("books").ID, Writer: writer.Writer, Limit: 10})
		}
	}
	found, _, err := r.Read(t.Context(), writers, ranges)
	if err != nil {
		t.Fatal(err)
	}
	rows := slices.Concat(found...)
	if len(rows) != 2 {
		t.Fatalf("%d deliveries were read, want 2", len(rows))
	}
	first, second := &rows[0], &rows[1]
	policy := dispatch.Policy{Retry: outbox.DefaultRetry, Asks: true, Steps: []dispatch.Step{{Name: "order"}, {Name: "invoice"}}}
	claim := func(d *outbox.Delivery) (sent time.Time, claimed outbox.Claimed) {
		stored, became, err := r.IntendClaiming(t.Context(), r.NextBatch(), leases, []*outbox.Delivery{d}, []outbox.Claim{{Effect: "order/1"}})
		if err != nil {
			t.Fatal(err)
		}
		d.Claimed = became[d.Position()].Won
		return stored.At, became[d.Position()]
	}
	finish := func(d *outbox.Delivery, a dispatch.Attempt) {
		changed, err := r.Finish(t.Context(), leases, []outbox.Transition{dispatch.Decide(d, a, policy, r.Now(), 0)})
		if err != nil || !changed[d.Position()] {
			t.Fatalf("the delivery was not changed (%v)", err)
		}
	}
	sent, _ := claim(first)
	finish(first, dispatch.Attempt{Sent: true, StartedAt: sent, Outcome: delivered, Effect: &dispatch.AttemptEffect{Name: "order/1", Source: "till", Event: "a"}})
	sent, became := claim(second) // it was prepared before that
	if !sent.IsZero() || !became.Won {
		t.Fatalf("intended at %s, and %+v: the claim is to be made, and nothing to be sent", sent, became)
	}
	there, err := r.Effects(t.Context(), []outbox.EffectName{{Tenant: "kopi", Destination: second.Destination, Effect: "order/1"}})
	if err != nil {
		t.Fatal(err)
	}
	finish(second, dispatch.Attempt{Outcome: delivered, Effect: &dispatch.AttemptEffect{Name: "order/1", Existing: there[0]}})
	if got := values[string](b, `SELECT format('revision %s, claimed %s, unknown %s', revision, lane IS NOT NULL, unknown_at IS NOT NULL) FROM effects`); !slices.Equal(got, []string{"revision 1, claimed f, unknown f"}) {
		t.Errorf("the ledger: %q", got)
	}
}
