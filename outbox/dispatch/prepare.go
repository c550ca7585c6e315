package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/mutant"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// loaded is a flight with its event.
type loaded struct {
	*flight
	event *outbox.LoadedEvent
}

// prepared is a request, or why there is none.
type prepared struct {
	request connectors.Request
	content []byte // of the request, where its step names an effect
	refused *connectors.Outcome
	// missing is what it looked up in vain, in the mappings of that version.
	missing  []connectors.Miss
	mappings int64
	used     []outbox.LookedUp // what it looked up and found
}

const (
	// prepareTimeout is how long a connector may take to prepare one request, which is
	// pure: there is nothing to wait for.
	prepareTimeout = 2 * time.Second
	// prepareGrace is how long a group is waited for as a whole, so that its intents
	// share a row.
	prepareGrace = 5 * time.Millisecond
)

// prepareAll has the requests of one destination's deliveries prepared, one after the
// other, and hands them on to become intents. One whose connector does not return is
// given up, and those behind it go on without it.
func (n *incarnation) prepareAll(ctx context.Context, group []loaded) {
	for len(group) > 0 {
		results, all := make(chan prepared, len(group)), make(chan struct{})
		var givenUp atomic.Bool
		go func(group []loaded) {
			defer close(all)
			for i := 0; i < len(group) && !givenUp.Load(); i++ {
				results <- n.prepare(group[i])
			}
		}(group)
		grace := time.NewTimer(prepareGrace)
		select {
		case <-all:
		case <-grace.C:
		}
		grace.Stop()
		group = n.takePrepared(ctx, group, results)
		givenUp.Store(true)
	}
}

// takePrepared takes up one result after the other, and returns what stands behind a
// delivery whose result does not come.
func (n *incarnation) takePrepared(ctx context.Context, group []loaded, results <-chan prepared) []loaded {
	var ready []*flight
	hand := func() {
		n.requests.put(ready...)
		ready = nil
	}
	defer func() { hand() }()
	for i, l := range group {
		var result prepared
		select {
		case result = <-results:
		default: // it takes its time: those before it need not wait for that
			hand()
			select {
			case <-ctx.Done():
				return nil
			case result = <-results:
			case <-time.After(prepareTimeout):
				n.config.Log.ErrorContext(ctx, "a connector does not return from Prepare", "destination", l.destination.Name, "event", l.event.ID)
				l.attempt.Outcome = *poison("the connector did not return within " + prepareTimeout.String() + " while it prepared the request")
				n.unsent(l.flight)
				return group[i+1:]
			}
		}
		if result.refused != nil {
			l.attempt.Outcome, l.attempt.Missing, l.attempt.Mappings = *result.refused, result.missing, result.mappings
			n.unsent(l.flight)
			continue
		}
		if l.unchanged(result.content) {
			n.unsent(l.flight)
			continue
		}
		l.request, l.used, l.attempt.Asked = result.request, result.used, l.asks()
		ready = append(ready, l.flight)
	}
	return nil
}

func poison(reason string) *connectors.Outcome {
	return &connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "prepare", Reason: reason}
}

// decided tells whether the flight has its outcome already, so that nothing is sent.
func (n *incarnation) decided(f *flight, event *outbox.LoadedEvent) bool {
	if event == nil {
		f.attempt.Outcome = *poison("its event cannot be read")
		return true
	}
	f.identify(event)
	f.attempt.Exposure, f.attempt.Outlet = f.policy.appraise(event)
	if f.attempt.Newer != nil || f.attempt.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED {
		return true // by its version, or its effect
	}
	return n.tooLate(f) || n.tooEarly(f)
}

// appraise is what a delivery of the event is worth while it is held, where its route says,
// and its outlet.
func (p *Policy) appraise(event *outbox.LoadedEvent) (*outbox.Exposure, string) {
	if p.Exposure == nil {
		return nil, event.Outlet
	}
	return p.Exposure(&event.Event), event.Outlet
}

// identify gives the flight what its event is called, and the key that its requests go by.
func (f *flight) identify(event *outbox.LoadedEvent) {
	f.event = EventName{Tenant: event.Tenant, Source: event.SourceName, ID: event.ID}
	f.key = idempotencyKey(event, f.destination.Name, f.delivery)
}

// prepare makes the request: the only place that does, for what is sent and for what is
// previewed. It changes nothing of the flight, which may have been given up by the time
// that it returns.
func (d *Dispatcher) prepare(l loaded) (result prepared) {
	event := l.event
	defer func() {
		if p := recover(); p != nil {
			d.config.Log.Error("a connector panicked in Prepare", "destination", l.destination.Name, "event", event.ID, "type", fmt.Sprintf("%T", p))
			result = prepared{refused: poison("the connector panicked while it prepared the request")}
		}
	}()
	mappings := d.mappingVersion(event.Tenant) // before anything is looked up
	looked := d.lookUps(event.Tenant, l.delivery.Destination)
	step := connectors.Step{
		Event: &connectors.Event{
			Tenant: event.Tenant, Source: event.SourceName, ID: event.ID, Type: event.Type, OrderingKey: event.OrderingKey,
			OccurredAt: event.OccurredAt, AcceptedAt: event.AcceptedAt, Outlet: event.Outlet, References: event.References,
			ContentType: event.ContentType, Data: event.Payload,
		},
		Destination: l.destination.Name, Index: int(l.delivery.Step), Effect: event.ID, Attempt: l.delivery.Attempt(),
		Key: l.key, Lookup: looked.function(),
	}
	l.fill(&step, d.plan.Load(), event)
	if unplanned, ok := step.Plan.(error); ok {
		return prepared{refused: poison(unplanned.Error())}
	}
	request, err := l.destination.Connector.Prepare(step)
	if err != nil {
		result = refused(err, mappings)
	} else if result.request = request; l.claims() {
		result.content = contentOf(request)
	}
	result.used = looked.used
	return result
}

// refused is why a connector made no request, from mappings of that version.
func refused(err error, mappings int64) prepared {
	var refusal *connectors.PrepareError
	switch {
	case errors.As(err, &refusal) && len(refusal.Missing) > 0:
		return prepared{refused: missed(refusal.Missing), missing: refusal.Missing, mappings: mappings}
	case errors.As(err, &refusal) && refusal.Kind > raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED:
		return prepared{refused: &connectors.Outcome{Kind: refusal.Kind, Rule: "prepare", Code: refusal.Code, Field: refusal.Field, Reason: refusal.Message}}
	}
	return prepared{refused: poison("the connector could not prepare the request: " + err.Error())}
}

// tooLate tells whether the platform would not know a request sent now for a repeat of an
// earlier one, which may have had its effect: it recognises none, or might have forgotten the
// key before this one gets there. The flight then has its outcome, and a person decides. A
// question is never too late.
//
// Where repeats are not recognised, that somebody has it tried again, be it alone, by a job or
// with all that an exception holds, is no decision yet: who has looked there says so, and then
// nothing is unknown any more; see [outbox.Store.SendAnyway]. Past a window it is one: what a
// person has just released has spent no attempt.
func (n *incarnation) tooLate(f *flight) bool { return f.tooLate(n.replica.Latest) }

func (f *flight) tooLate(latest func() time.Time) bool {
	d, traits := f.delivery, f.policy.Traits
	if d.UnknownAt == nil || f.asks() {
		return false
	}
	why := connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME}
	switch {
	case !traits.Idempotent && d.Last == why.Kind && !mutant.On(mutant.ResendUnknown):
		why.Rule, why.Reason = "no repeats", "not sent again: an earlier request may have had its effect, and the platform neither recognises repeats nor can be asked; look there, then mark it as delivered or send it anyway"
	case d.Attempts > 0 && windowOver(d.UnknownAt, traits, latest().Add(f.destination.Timeout)):
		why.Rule, why.Reason = "deduplication window", fmt.Sprintf("not sent again: an earlier request may have had its effect, and the platform forgets keys after %s", traits.DeduplicationWindow)
		f.policy.Traits.Idempotent = false // no longer: so a person decides
	default:
		return false
	}
	f.attempt.Outcome = why
	return true
}

// idempotencyKey is the same for every request of a step until its revision rises:
// SHA-256 over tenant, source, event id, destination, step, revision and replay, each
// prefixed by its length, in hexadecimal.
func idempotencyKey(e *outbox.LoadedEvent, destination string, d *outbox.Delivery) string {
	text := make([]byte, 0, 256)
	for _, part := range []string{e.Tenant, e.SourceName, e.ID, destination} {
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	if mutant.On(mutant.KeyPerAttempt) {
		text = append(text, byte(d.Requests), byte(d.Requests>>8))
	}
	for _, number := range []int32{int32(d.Step), int32(d.Revision), d.Replay} {
		text = binary.BigEndian.AppendUint64(text, uint64(number))
	}
	sum := sha256.Sum256(text)
	return string(hex.AppendEncode(text[:0], sum[:]))
}
