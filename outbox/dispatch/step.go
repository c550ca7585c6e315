package dispatch

import (
	"context"
	"fmt"
	"slices"

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

// fill fills in what a step's request is made from.
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
