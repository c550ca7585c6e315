package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

var noAnswer = connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "no answer", Reason: "the connection was closed before an answer came"}

// newForgetful is a platform that recognises no repeats and can be asked: its effects
// count its requests that were taken.
func newForgetful(answer func(context.Context, sent) connectors.Outcome) *platform {
	p := newPlatform(answer)
	p.traits = connectors.Traits{}
	p.reconcile = func(_ context.Context, s sent) connectors.Reconciliation {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.effects[s.Key] > 0 {
			return connectors.Reconciliation{Finding: connectors.Found, Outcome: connectors.Outcome{Rule: "status 200", Status: 200, Reason: "it has it", ExternalID: "INV-" + s.ID}}
		}
		return connectors.Reconciliation{Finding: connectors.Absent, Outcome: connectors.Outcome{Rule: "status 404", Status: 404, Reason: "it has no such thing"}}
	}
	return p
}

// take brings the effect about, whatever is answered.
func (p *platform) take(s sent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.effects[s.Key]++
}

func (p *platform) checkOneEffectEach(t *testing.T, want int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.effects) != want {
		t.Errorf("%d things have an effect, want %d", len(p.effects), want)
	}
	for key, n := range p.effects {
		if n != 1 {
			t.Errorf("key %s has %d effects", key, n)
		}
	}
}

const attemptsSQL = `SELECT concat_ws(' ', t.attempt, CASE WHEN t.detail ? 'asked' THEN 'asked' END, nullif(t.kind, 0), t.state)
  FROM timeline t JOIN events e ON e.seq = t.event WHERE t.what = 'attempt' AND e.id = $1 ORDER BY t.at, t.entry`

// A platform takes some requests and drops the connection, and drops others untaken.
// It is asked, and each has one effect.
func TestDispatcher_AsksBeforeItSendsAgain(t *testing.T) {
	t.Parallel()
	var books *platform
	books = newForgetful(func(_ context.Context, s sent) connectors.Outcome {
		switch {
		case s.Attempt > 1:
			return delivered
		case s.ID[0] == 't':
			books.take(s)
			return noAnswer
		case s.ID[0] == 'd':
			return noAnswer
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	for i := range 10 {
		for _, what := range []string{"taken", "dropped", "fine"} {
			b.append(b.entry("sales", fmt.Sprintf("%s%d", what, i), fmt.Sprintf("order/%d", i), "books"))
		}
	}
	b.start()
	b.untilDrained()
	books.checkOneEffectEach(t, 30)
	for id, want := range map[string][]string{
		"taken3":   {"1 3 WAITING", "2 asked 1 DELIVERED"},
		"dropped3": {"1 3 WAITING", "2 asked WAITING", "3 1 DELIVERED"},
		"fine3":    {"1 1 DELIVERED"},
	} {
		if diff := cmp.Diff(want, values[string](b, attemptsSQL, id)); diff != "" {
			t.Errorf("attempts of %s (-want +got):\n%s", id, diff)
		}
	}
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what = 'attempt' AND state = 'DELIVERED' AND detail ->> 'externalId' LIKE 'INV-taken_'`); n != 10 {
		t.Errorf("%d receipts by asking, want 10", n)
	}
	// The old request is waited out: for the time-out of these tests, and a margin that
	// pays for what two clocks differ by.
	if n := value[int](b, `SELECT count(*) FROM timeline a JOIN timeline q ON q.event = a.event AND q.detail ? 'asked' WHERE a.kind = 3 AND q.started_at < a.started_at + interval '1 s'`); n != 0 {
		t.Errorf("%d questions were asked too early", n)
	}
	var order []string
	for _, s := range books.seen() {
		if s.OrderingKey == "order/4" && !slices.Contains(order, s.ID) {
			order = append(order, s.ID)
		}
	}
	if diff := cmp.Diff([]string{"taken4", "dropped4", "fine4"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// A platform that can be asked, and never says: a person decides. When they release it,
// it is asked again, and nothing is sent before it says.
func TestDispatcher_APersonDecidesWhereThePlatformCannotTell(t *testing.T) {
	t.Parallel()
	var mute atomic.Bool
	mute.Store(true)
	var books *platform
	books = newForgetful(func(_ context.Context, s sent) connectors.Outcome {
		books.take(s)
		return noAnswer
	})
	knows := books.reconcile
	books.reconcile = func(ctx context.Context, s sent) connectors.Reconciliation {
		if mute.Load() {
			return connectors.Reconciliation{Outcome: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 503", Status: 503, Reason: "503"}}
		}
		return knows(ctx, s)
	}
	b := newBench(t, map[string]*platform{"books": books})
	b.append(b.entry("sales", "a", "order/1", "books"))
	b.start()
	b.until("it is held", `SELECT count(*) = 1 FROM exceptions WHERE class = 'UNKNOWN_OUTCOME' AND rule = 'status 503' AND held = 1`)
	want := []string{"1 3 WAITING", "2 asked 2 WAITING", "3 asked 2 WAITING", "4 asked 2 WAITING", "5 asked 2 NEEDS_ACTION"}
	if diff := cmp.Diff(want, values[string](b, attemptsSQL, "a")); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	mute.Store(false)
	b.retry()
	b.untilDrained()
	if n := len(books.seen()); n != 1 {
		t.Errorf("%d requests were sent, want 1 and questions", n)
	}
	books.checkOneEffectEach(t, 1)
}

// retry has an operator release the one delivery that is open.
func (b *bench) retry() {
	b.t.Helper()
	b.byHand(b.store.Retry)
}

// byHand has an operator do it to each delivery that is open.
func (b *bench) byHand(do func(context.Context, outbox.Actor, outbox.OperatorRequest) (outbox.Operated, error)) {
	b.t.Helper()
	type row struct {
		At          time.Time
		Event       outbox.Seq
		Destination int32
		Version     int32
	}
	for _, r := range values[row](b, `SELECT event_at AS at, event, destination, version FROM deliveries`) {
		_, err := do(b.t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.OperatorRequest{
			RequestID: fmt.Sprint("at version ", r.Version), ExpectedVersion: r.Version, Reason: "it is well again",
			Delivery: outbox.DeliveryID{Event: outbox.EventID{AcceptedAt: r.At, Seq: r.Event}, Destination: r.Destination},
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// An operator who is quicker than the request in question does not make it be asked
// about too early.
func TestDispatcher_AnOperatorsRetryWaitsForTheRequestToBeOver(t *testing.T) {
	t.Parallel()
	books := newForgetful(func(_ context.Context, s sent) connectors.Outcome {
		if s.Attempt == 1 {
			return noAnswer
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.destination("books").Timeout = 4 * time.Second // of which none is spent
	b.append(b.entry("sales", "a", "order/1", "books"))
	b.start()
	b.until("it waits", `SELECT count(*) = 1 FROM deliveries WHERE state = 1`)
	b.retry()
	b.untilDrained()
	want := []string{"1 3 WAITING", "1 asked 3 WAITING", "2 asked WAITING", "3 1 DELIVERED"}
	if diff := cmp.Diff(want, values[string](b, attemptsSQL, "a")); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if n := value[int](b, `SELECT count(*) FROM timeline a, timeline q WHERE a.kind = 3 AND a.attempt = 1 AND a.started_at IS NOT NULL AND q.attempt = 2 AND q.started_at < a.started_at + interval '4 s'`); n != 0 {
		t.Error("it was asked too early")
	}
	books.checkOneEffectEach(t, 1)
}

// What may have had its effect at a platform that neither recognises repeats nor can be asked
// is sent again by whoever says that it is not there, and by nothing else: not by a retry of
// it, of all that its exception holds, or by a job.
func TestDispatcher_SendsWhatIsUnknownByAPersonsWordOnly(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.ID == "unknown" && s.Attempt == 1 {
			return noAnswer
		}
		return delivered
	})
	books.traits = connectors.Traits{}
	b := newBench(t, map[string]*platform{"books": books})
	b.append(b.entry("sales", "unknown", "order/1", "books"))
	b.start()
	const heldSQL = `SELECT count(*) = 1 FROM deliveries d JOIN exceptions x ON x.id = d.exception WHERE d.state = 2 AND x.class = 'UNKNOWN_OUTCOME' AND x.rule = $1 AND d.unknown_at IS NOT NULL`
	b.until("it is held", heldSQL, "no answer")
	ayu := outbox.Actor{Tenant: "kopi", Name: "ayu"}
	again := map[string]func() error{
		"retry": func() error { b.retry(); return nil },
		"exception": func() error {
			_, err := b.store.StepException(t.Context(), ayu, outbox.ExceptionRequest{
				RequestID: "x", Reason: "again", Step: outbox.StepRetry, Exception: value[int64](b, `SELECT id FROM exceptions WHERE held = 1`),
			})
			return err
		},
		"job": func() error {
			_, err := b.store.StartJob(t.Context(), ayu, outbox.JobRequest{RequestID: "j", Reason: "again", Action: outbox.JobReprocess, Rate: 1, Filter: outbox.JobFilter{Class: "UNKNOWN_OUTCOME"}})
			for more := err == nil; more && err == nil; {
				_, more, err = b.store.JobRunner().Step(t.Context())
			}
			return err
		},
	}
	for _, how := range []string{"retry", "exception", "job"} {
		version := value[int32](b, `SELECT version FROM deliveries`)
		if err := again[how](); err != nil {
			t.Fatal(how, err)
		}
		b.until("it is held again after a "+how, heldSQL+` AND d.version > $2 + 1`, "no repeats", version)
	}
	if n := len(books.seen()); n != 1 {
		t.Fatalf("%d requests, want the first alone", n)
	}
	b.byHand(b.store.SendAnyway)
	b.untilDrained()
	if n := len(books.seen()); n != 2 {
		t.Errorf("%d requests, want a second one by a person's word", n)
	}
}

// A question that panics becomes an exception of its own.
func TestDispatcher_AQuestionThatPanics(t *testing.T) {
	t.Parallel()
	books := newForgetful(func(_ context.Context, s sent) connectors.Outcome {
		if s.ID == "bad" {
			return noAnswer
		}
		return delivered
	})
	books.reconcile = func(context.Context, sent) connectors.Reconciliation { panic("a connector's bug") }
	b := newBench(t, map[string]*platform{"books": books})
	b.append(b.entry("sales", "bad", "order/1", "books"), b.entry("sales", "good", "order/2", "books"))
	b.start()
	b.until("it is held, and the other delivered", `SELECT count(*) = 1 FROM deliveries d JOIN exceptions x ON x.id = d.exception WHERE x.class = 'POISON' AND x.rule = 'reconcile' AND d.unknown_at IS NOT NULL`)
	b.until("the other is delivered", `SELECT count(*) = 1 FROM timeline WHERE state = 'DELIVERED'`)
}

// The idempotency key is the same for ever where a request may have had its effect, and
// a new one once an operator releases what was refused.
func TestDispatcher_TheKeyChangesOnlyWhereNothingHadAnEffect(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		outcome connectors.Outcome
		changes bool
	}{
		"Refused":        {connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "status 422", Status: 422, Reason: "no"}, true},
		"AlreadyThere":   {connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE, Rule: "status 409", Status: 409, Reason: "no"}, false},
		"ConnectorBroke": {connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "send", Reason: "no"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var well atomic.Bool
			books := newPlatform(func(context.Context, sent) connectors.Outcome {
				if well.Load() {
					return delivered
				}
				return c.outcome
			})
			b := newBench(t, map[string]*platform{"books": books})
			b.append(b.entry("sales", "a", "order/1", "books"))
			b.start()
			for n := 1; n <= 2; n++ {
				b.until("it is held", `SELECT count(*) = 1 FROM deliveries WHERE state = 2 AND requests = $1`, n)
				well.Store(n == 2)
				b.retry()
			}
			b.untilDrained()
			keys := make(map[string]bool)
			for _, s := range books.seen() {
				keys[s.Key] = true
			}
			if want := map[bool]int{true: 3, false: 1}[c.changes]; len(keys) != want {
				t.Errorf("three requests had %d keys, want %d", len(keys), want)
			}
		})
	}
}

// The owner of a request dies before its outcome is stored: its successor asks, and
// sends only what is surely not there.
func TestDispatcher_AsksAboutWhatADeadReplicaSent(t *testing.T) {
	t.Parallel()
	for name, taken := range map[string]bool{"Taken": true, "NotTaken": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			books := newForgetful(nil)
			b := newBench(t, map[string]*platform{"books": books})
			c := b.startChild()
			b.append(b.entry("sales", "a", "order/1", "books"))
			key := b.untilSent(c)
			want, requests := []string{"1 3 WAITING", "2 asked WAITING", "3 1 DELIVERED"}, 1
			if taken {
				books.take(sent{Key: key})
				want, requests = []string{"1 3 WAITING", "2 asked 1 DELIVERED"}, 0
			}
			if err := c.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			b.start()
			b.untilDrained()
			if diff := cmp.Diff(want, values[string](b, attemptsSQL, "a")); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
			if n := len(books.seen()); n != requests {
				t.Errorf("the successor sent %d requests, want %d", n, requests)
			}
			books.checkOneEffectEach(t, 1)
		})
	}
}

// Whatever a connector makes of a platform's wish to be left alone, it is a day at most,
// and never in the past.
func TestDispatcher_BoundsRetryAfter(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		after := 100 * 365 * 24 * time.Hour
		if s.ID == "past" && s.Attempt == 1 {
			after = -after
		} else if s.ID == "past" {
			return delivered
		}
		// Of a kind that holds nothing but its delivery.
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED, Rule: "status 418", Status: 418, Reason: "418", RetryAfter: after}
	})
	b := newBench(t, map[string]*platform{"books": books})
	route := b.plan.Routes[salesRoute]
	route.Retry.Age = 48 * time.Hour
	b.plan.Routes[salesRoute] = route
	b.append(b.entry("sales", "past", "order/1", "books"), b.entry("sales", "absurd", "order/2", "books"))
	b.start()
	b.until("one is delivered, and the other waits", `SELECT count(*) = 1 AND bool_and(state = 1 AND due_at < now() + interval '25 h' AND due_at > now() + interval '23 h') FROM deliveries`)
}
