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

// Step is one step of a route's deliveries.
type Step struct {
	Name string
	// Plan is what the destination made of it; see [connectors.Planner]. An error says why it
	// made nothing: then nothing is sent.
	Plan any
	// Effect names what the step brings about; nil where the route names nothing.
	Effect func(*outbox.Event) (string, error)
	// IfExists says what becomes of the step where that is there already.
	IfExists outbox.IfExists
}

// OutletKey names an outlet.
type OutletKey struct {
	Tenant, Name string
}

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

// stepped is what a flight knows of its step, where its route names steps.
type stepped struct {
	Step
	receipts map[string]connectors.Receipt // of earlier steps
	effect   string
	found    *outbox.Effect // what the ledger knows of it; nil: nothing
	key      string         // what its requests go by, where not by their own
}

// existing is the receipt of what is to be updated.
func (s *stepped) existing() *connectors.Receipt {
	if s.found == nil || s.found.Revision == 0 {
		return nil
	}
	return new(receiptOf(s.found.Receipt))
}

func receiptOf(r outbox.Receipt) connectors.Receipt {
	return connectors.Receipt{ExternalID: r.ExternalID, URL: r.URL, Fields: r.Fields}
}

// readSteps finds out what flights' steps are about, where their routes name steps: what
// earlier steps gave, and what the ledger knows of the effect. A flight that needs no
// request then has its outcome.
func (n *incarnation) readSteps(ctx context.Context, flights []*flight, events []*outbox.LoadedEvent) error {
	var named, advanced []*flight
	var after []*outbox.Delivery
	for i, f := range flights {
		if len(f.policy.Steps) == 0 && f.delivery.Step == 0 || events[i] == nil || f.attempt.Newer != nil || f.attempt.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED {
			continue
		}
		f.step = &stepped{}
		if f.delivery.Step > 0 {
			advanced, after = append(advanced, f), append(after, f.delivery)
		}
		if int(f.delivery.Step) < len(f.policy.Steps) {
			f.step.Step = f.policy.Steps[f.delivery.Step]
			n.nameEffect(f, events[i])
		}
		if f.step.effect != "" {
			named = append(named, f)
		}
	}
	if len(advanced) > 0 {
		var receipts []map[string]outbox.Receipt
		err := n.persist(ctx, "reading receipts", func(ctx context.Context) (err error) {
			receipts, err = n.replica.Receipts(ctx, after)
			return err
		})
		if err != nil {
			return err
		}
		for i, f := range advanced {
			f.resume(receipts[i])
		}
	}
	named = slices.DeleteFunc(named, func(f *flight) bool { return f.attempt.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED })
	return n.readEffects(ctx, named)
}

// resume takes up the receipts of the steps that are done. Where these are not the route's
// first steps any more, nobody can say what is left to do.
func (f *flight) resume(receipts map[string]outbox.Receipt) {
	done := int(f.delivery.Step)
	same := done < len(f.policy.Steps) && len(receipts) == done
	for i := 0; same && i < done; i++ {
		_, same = receipts[f.policy.Steps[i].Name]
	}
	if !same {
		f.attempt.Outcome = connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "steps", Code: f.delivery.Route,
			Reason: fmt.Sprintf("the steps of route %q are others than when %d of them were done; give it those again, or skip the delivery", f.delivery.Route, done),
		}
		return
	}
	f.step.receipts = make(map[string]connectors.Receipt, done)
	for name, r := range receipts {
		f.step.receipts[name] = receiptOf(r)
	}
}

// nameEffect leaves the flight its outcome where what its step brings about has no name:
// to send it all the same could make a second one.
func (n *incarnation) nameEffect(f *flight, event *outbox.LoadedEvent) {
	if f.step.Effect == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			n.config.Log.Error("the effect of an event panicked", "route", f.delivery.Route, "event", event.ID, "type", fmt.Sprintf("%T", p))
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

// step fills in what a step's request is made from.
func (f *flight) fill(s *connectors.Step, plan *Plan, event *outbox.LoadedEvent) {
	s.Outlet = connectors.Outlet{Name: event.Outlet, Location: plan.Outlets[OutletKey{event.Tenant, event.Outlet}]}
	if f.step == nil {
		return
	}
	s.Name, s.Plan, s.Receipts = f.step.Name, f.step.Plan, f.step.receipts
	if f.step.effect == "" {
		return
	}
	s.Effect = f.step.effect
	if f.attempt.Effect.Updates {
		s.Existing = f.step.existing()
	}
	if f.step.key != "" {
		s.Key = f.step.key
	}
}

// ended is what a transition says of steps and effects, once [decide] has made it.
func (p *Policy) ended(t outbox.Transition, a *Attempt) outbox.Transition {
	d := t.Delivery
	if e := a.Effect; e != nil {
		t.Detail.Effect = e.Name
		t.Inherited = e.InheritedAt != nil
	}
	if int(d.Step) >= len(p.Steps) {
		return t
	}
	name := p.Steps[d.Step].Name
	t.Detail.Step = name
	if t.To != outbox.StateDelivered {
		return t
	}
	t.Done = &outbox.StepDone{Name: name, Receipt: outbox.Receipt{ExternalID: a.ExternalID, URL: a.URL, Fields: a.Fields}}
	switch e := a.Effect; {
	case e == nil:
	case e.Existing != nil:
		t.Done.Existing = true
	default:
		t.Effect = &outbox.EffectDone{Name: e.Name, Content: e.Content, Source: e.Source, Event: e.Event}
		if a.Asked { // about a request that may have been another one
			t.Effect.Content = nil
		}
	}
	if int(d.Step)+1 < len(p.Steps) {
		t.To, t.Snapshot = outbox.StatePending, nil
	}
	return t
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
