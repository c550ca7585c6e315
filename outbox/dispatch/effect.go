package dispatch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// AttemptEffect is what an attempt has to do with the ledger, where its step names an effect.
type AttemptEffect struct {
	Name string
	// Existing is what is there already, where nothing was sent on its account: the step is
	// done, or a person decides.
	Existing *outbox.Effect
	// Updates: what is there is to be updated.
	Updates bool
	// Content is the hash of what was sent; nil where it is not known.
	Content []byte
	// InheritedAt is when a delivery that has ended made a request that may have had it.
	InheritedAt *time.Time
	Source      string // of the event, and its id
	Event       string
}

// nameEffect leaves the flight its outcome where what its step brings about has no name:
// to send it all the same could make a second one.
func (d *Dispatcher) nameEffect(f *flight, event *outbox.LoadedEvent) {
	if f.step.Effect == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			d.config.Log.Error("the effect of an event panicked", "route", f.delivery.Route, "event", event.ID, "type", fmt.Sprintf("%T", p))
			f.step.effect = ""
			f.attempt.Outcome = connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "effect", Reason: "the effect of its route panicked"}
		}
	}()
	name, err := f.step.Effect(&event.Event)
	if err == nil {
		err = outbox.CheckEffect(name)
	}
	if err != nil {
		f.attempt.Outcome = connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "effect", Code: f.delivery.Route, Field: f.step.Name,
			Reason: fmt.Sprintf("what step %q of route %q brings about has no name: %s", f.step.Name, f.delivery.Route, err),
		}
		return
	}
	f.step.effect = name
	f.attempt.Effect = &AttemptEffect{Name: name, Source: event.SourceName, Event: event.ID}
}

// readEffects asks the ledger what is there.
func (n *incarnation) readEffects(ctx context.Context, flights []*flight) error {
	if len(flights) == 0 {
		return nil
	}
	names := make([]outbox.EffectName, len(flights))
	for i, f := range flights {
		names[i] = outbox.EffectName{Tenant: f.delivery.Tenant, Destination: f.delivery.Destination, Effect: f.step.effect}
	}
	var found []*outbox.Effect
	err := n.persist(ctx, "reading effects", func(ctx context.Context) (err error) {
		found, err = n.replica.Effects(ctx, names)
		return err
	})
	if err != nil {
		return err
	}
	for i, f := range flights {
		f.meet(found[i])
	}
	return nil
}

// meet takes up what the ledger knows of the flight's effect.
//
//	not there                    → it is claimed, and sent
//	there, to be skipped         → the step is done
//	there, to be an exception    → NEEDS_ACTION
//	there, to be updated         → it is claimed, and sent to what is there
//
// An update of unknown outcome is sent again: it is for the one thing that is there, and
// what the platform would answer to a question is that it is.
func (f *flight) meet(found *outbox.Effect) {
	s, a := f.step, &f.attempt
	s.found = found
	if found == nil {
		return
	}
	if f.delivery.UnknownAt != nil && found.Claim != nil && *found.Claim == f.delivery.Position() {
		s.key = found.Key
	}
	if found.Revision == 0 {
		return
	}
	switch s.IfExists {
	case outbox.UpdateExisting:
		a.Effect.Updates = true
		f.policy.Asks, f.policy.Traits = false, connectors.Traits{Idempotent: true}
	case outbox.RaiseExisting:
		a.Effect.Existing = found
		a.Outcome = connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE, Rule: "effect", Code: f.delivery.Route, Field: s.Name, Reason: exists(s.effect, found)}
	default:
		f.settleFor(exists(s.effect, found) + ": nothing was sent")
	}
}

// settleFor has the step done by what is there already.
func (f *flight) settleFor(reason string) {
	found := f.step.found
	f.attempt.Effect.Existing = found
	f.attempt.Outcome = connectors.Outcome{
		Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, Rule: "effect", Reason: reason,
		ExternalID: found.Receipt.ExternalID, URL: found.Receipt.URL, Fields: found.Receipt.Fields,
	}
}

func exists(effect string, found *outbox.Effect) string {
	return fmt.Sprintf("%s is there already, by event %s of %s", effect, found.Event, found.Source)
}

// contentOf is the hash of what the request would bring to the platform; nil where it does
// not tell.
func contentOf(request connectors.Request) []byte {
	c, ok := request.(connectors.Content)
	if !ok {
		return nil
	}
	sum := sha256.Sum256(c.Content())
	return sum[:]
}

// unchanged tells whether an update would change nothing, and then leaves the flight its
// outcome. What another delivery is about to change, and what may have been changed by a
// request of this one, is not known.
func (f *flight) unchanged(content []byte) bool {
	if f.attempt.Effect == nil {
		return false
	}
	f.attempt.Effect.Content = content
	found := f.step.found
	if !f.attempt.Effect.Updates || content == nil || !slices.Equal(content, found.Content) || f.delivery.UnknownAt != nil ||
		found.Claim != nil && *found.Claim != f.delivery.Position() {
		return false
	}
	f.settleFor(exists(f.step.effect, found) + ", with the same content: nothing was sent")
	return true
}

// decideUnsent says what becomes of a delivery on account of its effect, without a request.
//
//	it is there                 → DELIVERED; PENDING where another step follows
//	there, to be an exception   → NEEDS_ACTION of class EFFECT_EXISTS
//	nobody knows, can be asked  → WAITING until that request is surely over, then a question
//	nobody knows, idempotent    → WAITING for no time, to be sent by the key of that request
//	nobody knows                → NEEDS_ACTION of unknown outcome
func decideUnsent(t outbox.Transition, a *Attempt, p *Policy, now time.Time) outbox.Transition {
	t.Spent = t.Attempts
	if a.Effect.InheritedAt == nil {
		if a.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED {
			t.To = outbox.StateDelivered
			return t
		}
		return needsAction(t, outbox.ClassEffectExists)
	}
	t.UnknownAt = a.Effect.InheritedAt
	switch {
	case p.Asks && !p.Traits.AsksByEvent:
		t.To, t.Delay = outbox.StateWaiting, max(t.UnknownAt.Add(p.Over).Sub(now), 0)
	case !p.Asks && p.Traits.Idempotent && !windowOver(t.UnknownAt, p.Traits, now):
		t.To = outbox.StateWaiting
	default:
		return needsAction(t, outbox.Class(a.Kind))
	}
	return t
}
