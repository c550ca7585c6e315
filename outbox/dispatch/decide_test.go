package dispatch

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

var accepted = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// Short names of kinds keep the table readable.
const (
	kindDelivered    = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	kindTransient    = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	kindUnknown      = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	kindRateLimited  = raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED
	kindQuota        = raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA
	kindAuthExpired  = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_EXPIRED
	kindAuthRevoked  = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED
	kindValidation   = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
	kindStale        = raffsyncv1.OutcomeKind_OUTCOME_KIND_STALE
	kindPoison       = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON
	kindUnclassified = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
	kindUnspecified  = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED
)

func TestDecide(t *testing.T) {
	const asked = 90 * time.Second
	retry := outbox.RetryConfig{Initial: time.Second, Factor: 2, Cap: time.Minute, Attempts: 5, Age: time.Hour}
	idempotent := connectors.Traits{Idempotent: true}
	remembers := connectors.Traits{Idempotent: true, DeduplicationWindow: 10 * time.Minute}
	for _, c := range []struct {
		name     string
		attempts int32
		age      time.Duration // since the first try; 0: this is it
		ours     bool
		unknown  time.Duration // since the first request that may have had its effect; 0: none
		outcome  connectors.Outcome
		unsent   bool
		last     raffsyncv1.OutcomeKind // of the attempt before
		traits   connectors.Traits

		to    string
		spent int32
		delay time.Duration
		class string
	}{
		{name: "Delivered", outcome: connectors.Outcome{Kind: kindDelivered}, to: outbox.StateDelivered, spent: 1},
		{name: "FirstTransient", outcome: connectors.Outcome{Kind: kindTransient}, to: outbox.StateWaiting, spent: 1, delay: 500 * time.Millisecond},
		{name: "ThirdTransient", attempts: 2, outcome: connectors.Outcome{Kind: kindTransient}, to: outbox.StateWaiting, spent: 3, delay: 2 * time.Second},
		{name: "LastTransient", attempts: 4, outcome: connectors.Outcome{Kind: kindTransient}, to: outbox.StateNeedsAction, spent: 5, class: "RETRIES_EXHAUSTED"},
		{name: "TooOld", age: time.Hour, outcome: connectors.Outcome{Kind: kindTransient}, to: outbox.StateNeedsAction, spent: 1, class: "RETRIES_EXHAUSTED"},
		{name: "CutByOurselves", attempts: 4, ours: true, outcome: connectors.Outcome{Kind: kindTransient}, to: outbox.StateWaiting, spent: 4, delay: 8 * time.Second},
		{name: "HonoursRetryAfter", outcome: connectors.Outcome{Kind: kindTransient, RetryAfter: asked}, to: outbox.StateWaiting, spent: 1, delay: asked},
		{name: "RetryAfterPastTheAge", age: 59 * time.Minute, outcome: connectors.Outcome{Kind: kindTransient, RetryAfter: asked}, to: outbox.StateNeedsAction, spent: 1, class: "RETRIES_EXHAUSTED"},
		{name: "RateLimited", attempts: 4, outcome: connectors.Outcome{Kind: kindRateLimited, RetryAfter: asked}, to: outbox.StateWaiting, spent: 4, delay: asked},
		{name: "Quota", attempts: 4, outcome: connectors.Outcome{Kind: kindQuota, RetryAfter: asked}, to: outbox.StateWaiting, spent: 4, delay: asked},
		{name: "UnknownWherePlatformDeduplicates", traits: idempotent, outcome: connectors.Outcome{Kind: kindUnknown}, to: outbox.StateWaiting, spent: 1, delay: 500 * time.Millisecond},
		{name: "UnknownElsewhere", outcome: connectors.Outcome{Kind: kindUnknown}, to: outbox.StateNeedsAction, spent: 1, class: "UNKNOWN_OUTCOME"},
		{name: "UnknownWithinTheWindow", traits: remembers, unknown: 9 * time.Minute, outcome: connectors.Outcome{Kind: kindUnknown}, to: outbox.StateWaiting, spent: 1, delay: 500 * time.Millisecond},
		{name: "UnknownAtTheWindowsEnd", traits: remembers, unknown: 10*time.Minute - 500*time.Millisecond, outcome: connectors.Outcome{Kind: kindUnknown}, to: outbox.StateNeedsAction, spent: 1, class: "UNKNOWN_OUTCOME"},
		{name: "RateLimitPastTheWindow", traits: remembers, unknown: 9 * time.Minute, outcome: connectors.Outcome{Kind: kindRateLimited, RetryAfter: asked}, to: outbox.StateNeedsAction, class: "UNKNOWN_OUTCOME"},
		{name: "TransientOfKnownEffectPastTheWindow", traits: remembers, outcome: connectors.Outcome{Kind: kindTransient, RetryAfter: 11 * time.Minute}, to: outbox.StateWaiting, spent: 1, delay: 11 * time.Minute},
		{name: "AnswerThatProvesNothingPastTheWindow", traits: remembers, outcome: connectors.Outcome{Kind: kindTransient, Status: 503, RetryAfter: 11 * time.Minute}, to: outbox.StateNeedsAction, spent: 1, class: "UNKNOWN_OUTCOME"},
		{name: "UnclassifiedIsTriedAgain", attempts: 1, outcome: connectors.Outcome{Kind: kindUnclassified}, to: outbox.StateWaiting, spent: 2, delay: time.Second},
		{name: "UnclassifiedAFewTimes", attempts: 2, outcome: connectors.Outcome{Kind: kindUnclassified}, to: outbox.StateNeedsAction, spent: 3, class: "UNCLASSIFIED"},
		{name: "StaleAFewTimes", attempts: 2, outcome: connectors.Outcome{Kind: kindStale}, to: outbox.StateNeedsAction, spent: 3, class: "RETRIES_EXHAUSTED"},
		{name: "AuthExpiredGoesAtOnce", attempts: 4, outcome: connectors.Outcome{Kind: kindAuthExpired, Status: 401}, to: outbox.StateWaiting, spent: 4},
		{name: "AuthExpiredAfterSomethingElse", attempts: 1, last: kindTransient, outcome: connectors.Outcome{Kind: kindAuthExpired}, to: outbox.StateWaiting, spent: 1},
		{name: "AuthExpiredHonoursRetryAfter", outcome: connectors.Outcome{Kind: kindAuthExpired, RetryAfter: asked}, to: outbox.StateWaiting, delay: asked},
		{name: "AuthExpiredTwiceIsRevoked", last: kindAuthExpired, outcome: connectors.Outcome{Kind: kindAuthExpired}, to: outbox.StateWaiting},
		{name: "AuthExpiredOnceItWasMended", last: kindAuthRevoked, outcome: connectors.Outcome{Kind: kindAuthExpired}, to: outbox.StateWaiting},
		{name: "AuthExpiredPastTheWindow", traits: remembers, unknown: 10 * time.Minute, outcome: connectors.Outcome{Kind: kindAuthExpired}, to: outbox.StateNeedsAction, class: "UNKNOWN_OUTCOME"},
		{name: "AuthRevoked", outcome: connectors.Outcome{Kind: kindAuthRevoked}, to: outbox.StateWaiting},
		{name: "Validation", outcome: connectors.Outcome{Kind: kindValidation}, to: outbox.StateNeedsAction, spent: 1, class: "VALIDATION"},
		{name: "Poison", outcome: connectors.Outcome{Kind: kindPoison}, to: outbox.StateNeedsAction, spent: 1, class: "POISON"},
		{name: "NoKindAtAll", outcome: connectors.Outcome{Kind: kindUnspecified}, to: outbox.StateNeedsAction, spent: 1, class: "UNSPECIFIED"},
		{name: "NothingWasSent", unsent: true, outcome: connectors.Outcome{Kind: kindTransient}, to: outbox.StateNeedsAction, spent: 1, class: "TRANSIENT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := accepted.Add(48*time.Hour + c.age) // how long it waited for its first try is all the same
			d := &outbox.Delivery{AcceptedAt: accepted, TriedAt: tried(now, c.age), EventAt: accepted.AddDate(-1, 0, 0), Attempts: c.attempts, Last: c.last}
			if c.unknown > 0 {
				since := now.Add(-c.unknown)
				d.UnknownAt = &since
			}
			got := Decide(d, Attempt{Sent: !c.unsent, Ours: c.ours, StartedAt: now, Outcome: c.outcome}, Policy{Retry: retry, Traits: c.traits}, now, 0.5)
			type essence struct {
				To    string
				Spent int32
				Delay time.Duration
				Class string
			}
			want := essence{c.to, c.spent, c.delay, c.class}
			if diff := cmp.Diff(want, essence{got.To, got.Spent, got.Delay, got.Cause.Class}); diff != "" {
				t.Errorf("transition (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecide_RateLimitsWithoutATimeBackOffByRequests(t *testing.T) {
	retry := outbox.RetryConfig{Initial: time.Second, Factor: 2, Cap: time.Minute, Attempts: 5, Age: time.Hour}
	d := &outbox.Delivery{AcceptedAt: accepted, Requests: 5}
	got := Decide(d, Attempt{Sent: true, StartedAt: accepted, Outcome: connectors.Outcome{Kind: kindRateLimited}}, Policy{Retry: retry}, accepted, 0.5)
	if want := 16 * time.Second; got.Delay != want || got.Spent != 0 {
		t.Errorf("after five requests: delay %s, %d spent; want %s, 0", got.Delay, got.Spent, want)
	}
}

// tried is when the first try was made, so long before now.
func tried(now time.Time, age time.Duration) *time.Time {
	if age == 0 {
		return nil
	}
	at := now.Add(-age)
	return &at
}

func drawDuration(t *rapid.T, label string, most time.Duration) time.Duration {
	return time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, label))
}

func TestDecide_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := accepted.Add(drawDuration(t, "age", 48*time.Hour))
		d := &outbox.Delivery{
			AcceptedAt: accepted, EventAt: accepted, TriedAt: tried(now, drawDuration(t, "tried", 24*time.Hour)),
			Attempts: rapid.Int32Range(0, 20).Draw(t, "attempts"), Requests: rapid.Int32Range(0, 100).Draw(t, "requests"),
			Last: rapid.SampledFrom([]raffsyncv1.OutcomeKind{kindUnspecified, kindAuthExpired, kindTransient}).Draw(t, "last"),
		}
		if rapid.Bool().Draw(t, "unknown before") {
			at := now.Add(-drawDuration(t, "unknown since", 24*time.Hour))
			d.UnknownAt = &at
		}
		a := Attempt{Sent: rapid.Bool().Draw(t, "sent"), Ours: rapid.Bool().Draw(t, "ours"), StartedAt: now.Add(-drawDuration(t, "took", time.Minute)), Outcome: connectors.Outcome{
			Kind:   raffsyncv1.OutcomeKind(rapid.IntRange(0, len(raffsyncv1.OutcomeKind_name)-1).Draw(t, "kind")),
			Status: rapid.SampledFrom([]int{0, 200, 409, 429, 503}).Draw(t, "status"),
		}}
		if a.NotMade = a.Sent && a.Ours && rapid.Bool().Draw(t, "not made"); a.NotMade {
			a.Kind, a.Asked = kindTransient, rapid.Bool().Draw(t, "a question")
		}
		if rapid.Bool().Draw(t, "asks for time") {
			a.RetryAfter = drawDuration(t, "retry after", 2*time.Hour)
		}
		p := Policy{
			Retry: outbox.RetryConfig{
				Initial: 1 + drawDuration(t, "initial", time.Minute), Factor: rapid.Float64Range(1, 10).Draw(t, "factor"),
				Cap: 1 + drawDuration(t, "cap", time.Hour), Attempts: rapid.IntRange(1, 15).Draw(t, "most"), Age: drawDuration(t, "most age", 48*time.Hour),
			},
			Traits: connectors.Traits{Idempotent: rapid.Bool().Draw(t, "idempotent")},
		}
		if rapid.Bool().Draw(t, "forgets") {
			p.Traits.DeduplicationWindow = 1 + drawDuration(t, "window", 24*time.Hour)
		}
		dice := rapid.Float64Range(0, 1).Filter(func(f float64) bool { return f < 1 }).Draw(t, "dice")
		before := *d
		got := Decide(d, a, p, now, dice)

		if diff := cmp.Diff(before, *d); diff != "" {
			t.Fatalf("the delivery was changed:\n%s", diff)
		}
		if diff := cmp.Diff(got, Decide(d, a, p, now, dice)); diff != "" {
			t.Fatalf("it decides otherwise the second time:\n%s", diff)
		}
		if a.NotMade {
			if got.To != outbox.StateWaiting || got.Delay != 0 || got.Spent != d.Attempts || got.UnknownAt != d.UnknownAt {
				t.Fatalf("not made: to %s after %s, %d spent after %d, in doubt since %v instead of %v", got.To, got.Delay, got.Spent, d.Attempts, got.UnknownAt, d.UnknownAt)
			}
			return
		}
		if (got.To == outbox.StateDelivered) != (a.Sent && a.Kind == kindDelivered) {
			t.Fatalf("%v, sent %v: to %s", a.Kind, a.Sent, got.To)
		}
		a.refusedAgain(d)
		if a.Sent && losesDestination(a.Kind) {
			if got.To != outbox.StateWaiting || got.Delay != 0 || got.Spent != d.Attempts {
				t.Fatalf("%v: to %s after %s, %d spent after %d; want that it waits for its destination only", a.Kind, got.To, got.Delay, got.Spent, d.Attempts)
			}
			return
		}
		if a.Sent && (a.Kind == kindRateLimited || a.Kind == kindQuota || a.Kind == kindAuthExpired || a.Ours) {
			if got.Spent != d.Attempts && got.To == outbox.StateWaiting {
				t.Fatalf("%v, ours %v: spends an attempt", a.Kind, a.Ours)
			}
		} else if got.Spent != d.Attempts+1 {
			t.Fatalf("%v: %d spent after %d", a.Kind, got.Spent, d.Attempts)
		}
		switch got.To {
		case outbox.StateNeedsAction:
			if got.Cause.Class == "" || strings.HasPrefix(got.Cause.Class, "OUTCOME_KIND_") {
				t.Fatalf("class %q", got.Cause.Class)
			}
		case outbox.StateWaiting:
			checkWaiting(t, d, a, p, now, got)
		}
	})
}

// checkWaiting holds what must be so of anything that is to be tried again.
func checkWaiting(t *rapid.T, d *outbox.Delivery, a Attempt, p Policy, now time.Time, got outbox.Transition) {
	next := now.Add(got.Delay)
	if got.Delay < a.RetryAfter || got.Delay > max(p.Retry.Cap, a.RetryAfter) {
		t.Fatalf("delay %s, where %s was asked for and %s is the most", got.Delay, a.RetryAfter, p.Retry.Cap)
	}
	if int(got.Spent) >= p.Retry.Attempts {
		t.Fatalf("waits after %d of %d attempts", got.Spent, p.Retry.Attempts)
	}
	if age := next.Sub(triedSince(d, &a)); age > p.Retry.Age {
		t.Fatalf("waits until an age of %s, where %s is the most", age, p.Retry.Age)
	}
	if a.Kind == kindUnknown && !p.Traits.Idempotent {
		t.Fatal("an unknown outcome is sent again to a platform that does not deduplicate")
	}
	since := d.UnknownAt
	if since == nil && (a.Kind == kindUnknown || a.Kind == kindTransient && a.Status != 0) {
		since = &a.StartedAt
	}
	if w := p.Traits.DeduplicationWindow; w > 0 && since != nil && next.Sub(*since) >= w {
		t.Fatalf("waits %s past the platform's window", next.Sub(*since)-w)
	}
}

func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := outbox.RetryConfig{
			Initial: 1 + drawDuration(t, "initial", time.Hour), Factor: rapid.Float64Range(1, 100).Draw(t, "factor"), Cap: 1 + drawDuration(t, "cap", 24*time.Hour),
		}
		tries := rapid.IntRange(0, 10_000).Draw(t, "tries") // factor^tries is beyond any float
		dice := rapid.Float64Range(0, 1).Filter(func(f float64) bool { return f < 1 }).Draw(t, "dice")
		got := backoff(r, tries, dice)
		if got < 0 || got > r.Cap {
			t.Fatalf("%s, where %s is the most", got, r.Cap)
		}
		if more := backoff(r, tries+1, dice); more < got {
			t.Fatalf("%s after %d tries, %s after one more", got, tries, more)
		}
		if backoff(r, tries, 0) != 0 {
			t.Fatal("the jitter is not full")
		}
	})
}
