package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// ErrNoDestination: nothing is configured that could prepare it.
var ErrNoDestination = errors.New("the destination is not configured, or can't be used as it is configured")

var errPreviewPanicked = errors.New("the connector panicked while it showed its request")

// Preview prepares what would be sent now, by the plan that is in force here, as the
// dispatcher does when its turn comes, and sends nothing. It claims no slot and no effect,
// and asks no breaker. The dispatcher need not run.
func (d *Dispatcher) Preview(ctx context.Context, s *outbox.Previewed) (preview *outbox.Preview, err error) {
	defer func() {
		if r := recover(); r != nil {
			d.config.Log.ErrorContext(ctx, "a connector panicked in a preview", "event", s.Event.ID, "type", fmt.Sprintf("%T", r))
			preview, err = nil, errPreviewPanicked
		}
	}()
	p, err := d.previewer(s)
	if err != nil {
		return nil, err
	}
	preview = &outbox.Preview{
		Event:       outbox.EventID{AcceptedAt: s.Event.AcceptedAt, Seq: s.Delivery.Event},
		Destination: p.destination.Name, Route: s.Delivery.Route, Open: s.Open,
	}
	if d.config.Mappings != nil {
		preview.Mappings = d.config.Mappings.Version(s.Event.Tenant)
	}
	for i := range max(len(p.policy.Steps), 1) {
		step, err := p.step(ctx, i)
		if err != nil {
			return nil, err
		}
		preview.Steps = append(preview.Steps, *step)
	}
	return preview, nil
}

// previewer goes through the steps of one delivery.
type previewer struct {
	*Dispatcher
	*outbox.Previewed
	plan        *Plan
	destination *Destination
	policy      Policy
	receipts    map[string]connectors.Receipt // of the steps before; markers among them
	marked      []string                      // steps whose receipts are markers
	superseded  *outbox.PreviewStep           // what holds for every step, where it does
}

func (d *Dispatcher) previewer(s *outbox.Previewed) (*previewer, error) {
	plan := d.plan.Load()
	if plan == nil {
		return nil, ErrNoDestination
	}
	destination := plan.Destinations[s.Delivery.Destination]
	if destination == nil || destination.Rests {
		return nil, ErrNoDestination
	}
	return &previewer{
		Dispatcher: d, Previewed: s, plan: plan, destination: destination.withDefaults(), policy: d.policy(plan, &s.Delivery),
		receipts: make(map[string]connectors.Receipt),
	}, nil
}

// flight is one of the step, as if it were admitted now.
func (p *previewer) flight(i int) *flight {
	delivery := p.Delivery
	if i > int(delivery.Step) {
		delivery = delivery.Next()
		delivery.Step = int16(i)
	}
	f := &flight{destination: p.destination, delivery: &delivery, policy: p.policy}
	f.identify(p.Event)
	return f
}

func (p *previewer) step(ctx context.Context, i int) (*outbox.PreviewStep, error) {
	step := &outbox.PreviewStep{Destination: p.destination.Name, Index: i}
	if i < len(p.policy.Steps) {
		step.Name = p.policy.Steps[i].Name
	}
	if i < int(p.Delivery.Step) {
		step.Prospect = outbox.WasDone
		if r, ok := p.Receipts[step.Name]; ok {
			step.Receipt = &r
			p.receipts[step.Name] = receiptOf(r)
		}
		return step, nil
	}
	f := p.flight(i)
	if i == int(p.Delivery.Step) {
		if err := p.begin(ctx, f, step); err != nil {
			return nil, err
		}
	}
	if f.attempt.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED {
		if err := p.lookIntoLedger(ctx, f, step); err != nil {
			return nil, err
		}
	}
	result := p.request(f, step)
	p.judge(f, &result, step)
	if err := p.compare(ctx, f, &result, step); err != nil {
		return nil, err
	}
	p.leaveReceipt(f, step)
	return step, nil
}

// begin looks at what decides about the delivery before its next step does: its snapshot,
// and whether the steps that are done are its route's.
func (p *previewer) begin(ctx context.Context, f *flight, step *outbox.PreviewStep) error {
	if p.policy.Version != nil && !p.Blank {
		p.readVersion(f, p.Event)
		if s := f.attempt.Snapshot; s != nil {
			applied, err := p.config.Store.Applied(ctx, []*outbox.Delivery{f.delivery}, []string{s.OrderingKey})
			if err != nil {
				return err
			}
			if a := applied[0]; a != nil && s.Version.OlderThan(a.Version) {
				f.attempt.Newer = a
				t := supersede(outbox.Transition{Delivery: f.delivery}, &f.attempt)
				p.superseded = &outbox.PreviewStep{Prospect: outbox.WouldSupersede, Reason: t.Reason}
			}
		}
	}
	if f.delivery.Step > 0 && f.attempt.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED {
		f.step = &stepped{}
		f.resume(p.Receipts)
	}
	return nil
}

// lookIntoLedger finds out what the step brings about, and what the ledger knows of it.
func (p *previewer) lookIntoLedger(ctx context.Context, f *flight, step *outbox.PreviewStep) error {
	if step.Index >= len(p.policy.Steps) {
		return nil
	}
	f.step = &stepped{Step: p.policy.Steps[step.Index], receipts: p.receipts}
	p.nameEffect(f, p.Event)
	step.Effect = f.step.effect
	if step.Effect == "" || p.Blank {
		return nil
	}
	found, err := p.config.Store.Effects(ctx, []outbox.EffectName{{Tenant: f.delivery.Tenant, Destination: f.delivery.Destination, Effect: step.Effect}})
	if err != nil {
		return err
	}
	f.meet(found[0])
	if found[0] != nil && found[0].Revision > 0 {
		step.Existing = found[0]
	}
	return nil
}

// request prepares the step's request, also where it would not be sent since its effect is
// there: to compare.
func (p *previewer) request(f *flight, step *outbox.PreviewStep) prepared {
	unmade := f.attempt.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED && (f.attempt.Effect == nil || f.attempt.Effect.Existing == nil)
	if unmade {
		return prepared{refused: &f.attempt.Outcome}
	}
	result := p.prepare(loaded{f, p.Event})
	step.LookUps = result.used
	for _, m := range result.missing {
		step.Missing = append(step.Missing, lookUp(m))
	}
	if result.request != nil {
		step.Request = shown(p.destination.Connector, result.request)
		step.Content = result.content
		step.Provisional = len(p.marked) > 0
	}
	return result
}

func shown(connector connectors.Destination, request connectors.Request) *outbox.PreviewRequest {
	previewer, ok := connector.(connectors.Previewer)
	if !ok {
		return &outbox.PreviewRequest{}
	}
	s := previewer.Preview(request)
	return &outbox.PreviewRequest{Method: s.Method, URL: s.URL, Header: s.Header, Body: s.Body}
}

// judge says what would become of the step.
func (p *previewer) judge(f *flight, result *prepared, step *outbox.PreviewStep) {
	effect := f.attempt.Effect
	switch {
	case p.superseded != nil:
		step.Prospect, step.Reason = p.superseded.Prospect, p.superseded.Reason
	case result.request == nil && len(p.marked) > 0 && len(result.missing) == 0:
		step.Prospect = outbox.NotKnown
		step.Reason = fmt.Sprintf("it needs what %s will have given: %s", strings.Join(p.marked, ", "), result.refused.Reason)
	case effect != nil && effect.Existing != nil && f.attempt.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED:
		step.Prospect, step.Reason = outbox.WouldSkip, f.attempt.Reason
	case effect != nil && effect.Existing != nil:
		hold(step, outbox.ClassEffectExists, &f.attempt.Outcome)
	case result.refused != nil:
		hold(step, outbox.Class(result.refused.Kind), result.refused)
	case f.unchanged(result.content):
		step.Prospect, step.Reason = outbox.WouldSkip, f.attempt.Reason
	case f.asks():
		step.Prospect, step.Reason = outbox.WouldAsk, "an earlier request may have had its effect; this is sent where the platform says that it had none"
	case f.tooLate(func() time.Time { return p.Now }):
		hold(step, outbox.Class(f.attempt.Kind), &f.attempt.Outcome)
	case f.step != nil && f.step.found != nil && f.step.found.Claim != nil && *f.step.found.Claim != f.delivery.Position():
		step.Prospect, step.Reason = outbox.WouldWait, "another delivery is about to bring it about"
	case effect != nil && effect.Updates:
		step.Prospect, step.Reason = outbox.WouldUpdate, exists(step.Effect, f.step.found)
	default:
		step.Prospect = outbox.WouldSend
	}
}

// hold says that the step would need a person, as the exception would.
func hold(step *outbox.PreviewStep, class string, o *connectors.Outcome) {
	step.Prospect, step.Reason = outbox.WouldHold, o.Reason
	step.Cause = outbox.Cause{Class: class, Rule: o.Rule, Code: o.Code, Field: o.Field}
}

// leaveReceipt leaves later steps what this one gives: what is there already, or markers.
func (p *previewer) leaveReceipt(f *flight, step *outbox.PreviewStep) {
	if step.Name == "" {
		return
	}
	if step.Prospect == outbox.WouldSkip && step.Existing != nil {
		p.receipts[step.Name] = receiptOf(step.Existing.Receipt)
		return
	}
	r := connectors.Receipt{ExternalID: marker(step.Name, "id"), URL: marker(step.Name, "url"), Fields: make(map[string]string)}
	if names, ok := p.destination.Connector.(connectors.ReceiptNamer); ok {
		for _, name := range names.ReceiptFields(f.step.Plan) {
			r.Fields[name] = marker(step.Name, name)
		}
	}
	p.receipts[step.Name], p.marked = r, append(p.marked, step.Name)
}

// marker stands for what the receipt of a step will hold: "{order.id}".
func marker(step, field string) string { return "{" + step + "." + field + "}" }
