package dispatch

import (
	"fmt"
	"math"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/mutant"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Policy is what a route and its destination say of attempts.
type Policy struct {
	Retry  outbox.RetryConfig
	Traits connectors.Traits
	// Pass lets later events of a key go past one that needs action.
	Pass bool
	// Version is the route's.
	Version func(*outbox.Event) (outbox.SnapshotVersion, bool, error)
	// Asks: the platform can be asked what became of a request, and is, before anything
	// is sent again that may have had its effect.
	Asks bool
	// Over is how long after its intent a request is surely over: its time-out and the
	// margin.
	Over time.Duration
	// Steps are the route's; none: one without a name.
	Steps []Step
	// Exposure is what a delivery is worth while it is held; nil where its route does not
	// say.
	Exposure func(*outbox.Event) *outbox.Exposure
	// Class of whatever needs action, for destinations whose troubles are of one kind to
	// people; empty: that of the outcome.
	Class string
}

// Attempt is what was tried, and what came of it.
type Attempt struct {
	// Sent tells whether a request was intended.
	Sent bool
	// Ours: it was we who gave up, as at the end of a lease. It spends no attempt.
	Ours bool
	// NotMade: the request, or the question, was not made after all, though its intent was
	// stored. It says nothing of the delivery, which is tried again at once.
	NotMade bool
	// Asked: that request is a question (see [connectors.Reconciler]), and Finding its
	// answer.
	Asked   bool
	Finding connectors.Finding
	// Snapshot is what the event is, where its route names a version, and Newer what the
	// destination has that is newer.
	Snapshot, Newer *outbox.Snapshot
	// Missing is what the look-ups of Prepare did not find in the mappings of a version.
	Missing  []connectors.Miss
	Mappings int64
	// Effect is what it has to do with the ledger; nil where its step names no effect.
	Effect *AttemptEffect
	// Exposure is what the delivery is worth, where its route says, and Outlet that of its
	// event; see appraise.
	Exposure *outbox.Exposure
	Outlet   string
	// Shadow is what would have become of it, where its route is in shadow.
	Shadow    *outbox.Shadow
	StartedAt time.Time // of the intent, by the database; zero where none
	Duration  time.Duration
	connectors.Outcome
}

// unproven tells whether the request may have had its effect. An answer proves that it
// had none only where it says so: that a platform is in trouble, has such a thing
// already, knows the key, or has taken a part says nothing of the kind. Neither does a
// connector that broke down in the middle.
func (a *Attempt) unproven() bool {
	switch a.Kind {
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE,
		raffsyncv1.OutcomeKind_OUTCOME_KIND_KEY_MISUSE, raffsyncv1.OutcomeKind_OUTCOME_KIND_PARTIAL,
		raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON:
		return a.Sent
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED:
		return a.Sent && a.Status != 0
	}
	return false
}

// unknownSince is when the first request was made that may have had its effect, once
// the attempt is over; nil where every request is proven to have had none. Only the
// platform's own word, to a question that came after all of them, takes that back.
func unknownSince(d *outbox.Delivery, a *Attempt) *time.Time {
	switch {
	case a.Asked && a.Finding == connectors.Absent:
		return nil
	case d.UnknownAt == nil && !a.Asked && a.unproven():
		at := a.StartedAt
		return &at
	}
	return d.UnknownAt
}

// triedSince is when the first of the tries was made that the retry policy counts.
func triedSince(d *outbox.Delivery, a *Attempt) time.Time {
	if d.TriedAt != nil {
		return *d.TriedAt
	}
	return a.StartedAt
}

// Most attempts spent on outcomes that no retry policy is made for.
const (
	unclassifiedAttempts = 3
	staleAttempts        = 3
)

// Decide says what an attempt makes of its delivery. It is pure: now is the
// database's time, and dice, in [0, 1), is the jitter.
//
//	its route is in shadow           → SKIPPED
//	a newer snapshot is applied      → SUPERSEDED
//	DELIVERED, or its effect is there → DELIVERED; PENDING where another step follows
//	TRANSIENT                        → WAITING until attempts or age run out, then NEEDS_ACTION
//	UNKNOWN_OUTCOME, can be asked    → WAITING until the request is surely over, then a question
//	UNKNOWN_OUTCOME, idempotent      → as TRANSIENT, within the platform's deduplication window
//	UNKNOWN_OUTCOME, otherwise       → NEEDS_ACTION: a second request could have a second effect
//	RATE_LIMITED, QUOTA              → WAITING as long as asked; spends no attempt
//	AUTH_EXPIRED                     → WAITING for no time, to be sent with a new token; spends no
//	                                   attempt. Twice in a row it is AUTH_REVOKED
//	AUTH_REVOKED, ACCOUNT_STATE      → WAITING until the destination is given back; spends no attempt
//	UNCLASSIFIED, STALE              → WAITING, a few times
//	not made after all               → WAITING for no time; spends no attempt
//	anything else, or nothing sent   → NEEDS_ACTION
//	look-ups that found nothing      → NEEDS_ACTION, for as many causes
//
// What an answer to a question makes of it, see [decideAsked].
func Decide(d *outbox.Delivery, a Attempt, p Policy, now time.Time, dice float64) outbox.Transition {
	if a.Shadow != nil {
		return outbox.Transition{Delivery: d, To: outbox.StateSkipped, Spent: d.Attempts, Reason: a.Reason, Shadow: a.Shadow}
	}
	a.refusedAgain(d)
	t := decide(d, a, p, now, dice)
	if t.To == outbox.StateNeedsAction {
		t.Exposure, t.Outlet, t.Passes = a.Exposure, a.Outlet, p.Pass
	}
	if p.Class != "" && t.To == outbox.StateNeedsAction {
		t.Cause.Class = p.Class
	}
	return p.ended(t, &a)
}

func decide(d *outbox.Delivery, a Attempt, p Policy, now time.Time, dice float64) outbox.Transition {
	t := outbox.Transition{
		Delivery: d, Sent: a.Sent, StartedAt: a.StartedAt, Duration: a.Duration,
		Kind: a.Kind, Reason: a.Reason, Spent: d.Attempts + 1, UnknownAt: unknownSince(d, &a), Snapshot: a.Snapshot,
		Detail: outbox.Detail{
			Status: a.Status, Rule: a.Rule, Code: a.Code, Field: a.Field,
			ExternalID: a.ExternalID, URL: a.URL, Fields: a.Fields, Excerpt: a.Excerpt, Asked: a.Asked,
		},
	}
	if a.Newer != nil {
		return supersede(t, &a)
	}
	if a.Sent && losesDestination(a.Kind) {
		return lost(t)
	}
	if e := a.Effect; e != nil && !a.Sent && (e.Existing != nil || e.InheritedAt != nil) {
		return decideUnsent(t, &a, &p, now)
	}
	if a.NotMade {
		t.To, t.Spent, t.UnknownAt = outbox.StateWaiting, d.Attempts, d.UnknownAt
		return t
	}
	if a.Asked {
		return decideAsked(t, &a, &p, now, dice)
	}
	if len(a.Missing) > 0 {
		return needsMappings(t, &a)
	}
	if !a.Sent {
		return needsAction(t, outbox.Class(a.Kind))
	}
	most, tries, atOnce := p.Retry.Attempts, t.Spent, false
	if a.Ours {
		t.Spent = d.Attempts
	}
	switch a.Kind {
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED:
		t.To = outbox.StateDelivered
		return t
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT:
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME:
		if p.Asks {
			// However many attempts are spent, and however old it is: one question is due to
			// whoever would have to decide otherwise.
			t.To, t.Delay = outbox.StateWaiting, max(backoff(p.Retry, int(tries), dice), a.RetryAfter, a.StartedAt.Add(p.Over).Sub(now))
			return t
		}
		if !p.Traits.Idempotent && !mutant.On(mutant.ResendUnknown) {
			return needsAction(t, outbox.Class(a.Kind))
		}
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA:
		// They back off by the requests that were made: the attempts do not grow.
		t.Spent, tries = d.Attempts, d.Requests+1
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_EXPIRED:
		t.Spent, atOnce = d.Attempts, true
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED:
		most = min(most, unclassifiedAttempts)
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_STALE:
		most = min(most, staleAttempts)
	default:
		return needsAction(t, outbox.Class(a.Kind))
	}

	delay := a.RetryAfter
	if !atOnce {
		delay = max(delay, backoff(p.Retry, int(tries), dice))
	}
	if p.Asks && t.UnknownAt != nil {
		delay = max(delay, a.StartedAt.Add(p.Over).Sub(now)) // what comes next is a question
	}
	next := now.Add(delay)
	if int(t.Spent) >= most || next.Sub(triedSince(d, &a)) > p.Retry.Age {
		class := outbox.ClassRetriesExhausted
		if a.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED {
			class = outbox.Class(a.Kind) // what it is lacks a rule, and that is what to mend
		}
		return needsAction(t, class)
	}
	if !p.Asks && windowOver(t.UnknownAt, p.Traits, next) {
		t.Reason = fmt.Sprintf("%s; an earlier request may have had its effect, and the platform forgets keys after %s", a.Reason, p.Traits.DeduplicationWindow)
		return needsAction(t, outbox.Class(raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME))
	}
	t.To, t.Delay = outbox.StateWaiting, delay
	return t
}

// refusedAgain makes AUTH_REVOKED of an AUTH_EXPIRED where the delivery's attempt before
// came to that too: the platform refuses a token that was renewed just before. It is
// recorded so, so that the first refusal after a person has mended it is a first one.
func (a *Attempt) refusedAgain(d *outbox.Delivery) {
	if a.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_EXPIRED && d.Last == a.Kind {
		a.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED
		a.Reason += "; a token that was renewed just before was refused too"
	}
}

func needsAction(t outbox.Transition, class string) outbox.Transition {
	t.To = outbox.StateNeedsAction
	t.Cause = outbox.Cause{Class: class, Rule: t.Detail.Rule, Code: t.Detail.Code, Field: t.Detail.Field}
	return t
}

// windowOver tells whether the platform will have forgotten the key of a request
// that may have had its effect, by the time of the next one.
func windowOver(unknownSince *time.Time, traits connectors.Traits, next time.Time) bool {
	return traits.DeduplicationWindow > 0 && unknownSince != nil && next.Sub(*unknownSince) >= traits.DeduplicationWindow
}

// backoff is exponential with full jitter: uniform in [0, ceiling), where the ceiling
// is initial × factor^(tries−1), at most cap. Full jitter spreads the retries of
// many deliveries that failed together.
func backoff(r outbox.RetryConfig, tries int, dice float64) time.Duration {
	ceiling := float64(r.Initial) * math.Pow(r.Factor, float64(max(tries-1, 0)))
	ceiling = min(ceiling, float64(r.Cap))
	return time.Duration(dice * ceiling)
}

// countsForBreaker tells whether the outcome says something about the destination's
// health. The others are about the request, the account or us.
func countsForBreaker(kind raffsyncv1.OutcomeKind) bool {
	return kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT || kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
}
