package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

const (
	// mostShadowing bounds the deliveries of a destination that are prepared in shadow at once.
	mostShadowing = 64
	// shadowTimeout is how long the connector may take over all steps of one of them.
	shadowTimeout = 2 * prepareTimeout
)

// shadows tells whether a delivery of the route is prepared only. One that was begun before
// the route went into shadow is not left half done: it goes on, and what is to be held is
// paused.
func (r *Route) shadows(d *outbox.Delivery) bool {
	return r.Shadow && !mutant.On(mutant.ShadowSends) && d.Requests == 0 && d.Step == 0 && d.UnknownAt == nil && !d.Claimed
}

// shadows tells whether any route is in shadow.
func (p *Plan) shadows() bool {
	for _, r := range p.Routes {
		if r.Shadow {
			return true
		}
	}
	return false
}

// inShadow tells whether the head of the line is prepared only, as things stand.
func (s *scheduler) inShadow(l *line) bool {
	route := s.plan.Routes[RouteKey{l.delivery.Tenant, l.delivery.Route}]
	return route.shadows(l.delivery)
}

// admitShadows takes up heads that are prepared only. They need no slot, token or unit, and
// a breaker says nothing about them; of a destination that is paused or rests, nothing is
// read. Those for which there is no room yet wait apart: among the heads that are live they
// would go as these do.
func (s *scheduler) admitShadows(t *target) (flights []*flight) {
	if t.stopped() || !s.shadows && len(t.shades) == 0 {
		return nil
	}
	aside := func(l *line) bool {
		is := s.inShadow(l)
		if is {
			t.shades = append(t.shades, l)
		}
		return is
	}
	t.ready, t.retries = slices.DeleteFunc(t.ready, aside), slices.DeleteFunc(t.retries, aside)
	var left []*line
	for _, l := range t.shades {
		switch {
		case l.queue.closing: // the next owner reads it
		case !s.inShadow(l): // its route is live by now
			t.offer(l)
		case t.shadowing == mostShadowing:
			left = append(left, l)
		default:
			flights = append(flights, s.admitShadow(t, l))
		}
	}
	t.shades = left
	return flights
}

func (s *scheduler) admitShadow(t *target, l *line) *flight {
	d := l.delivery
	l.admit()
	t.shadowing++
	s.flying++
	return &flight{
		line: l, target: t, destination: t.Destination, breaker: t.breaker, delivery: d, lease: s.leases[d.Lane],
		policy: s.policy(s.plan, d), settle: func(error) {}, shadow: true,
	}
}

// prepareShadows has those prepared that are not to be sent, and returns the others.
func (n *incarnation) prepareShadows(ctx context.Context, flights []*flight, events []*outbox.LoadedEvent) ([]*flight, []*outbox.LoadedEvent) {
	var live []*flight
	var theirs []*outbox.LoadedEvent
	for i, f := range flights {
		switch {
		case !f.shadow:
			live, theirs = append(live, f), append(theirs, events[i])
		case n.restsWithSource(f, events[i]):
		default:
			go n.prepareShadow(ctx, f, events[i])
		}
	}
	return live, theirs
}

// prepareShadow gives the flight its outcome: what a preview of it says.
func (n *incarnation) prepareShadow(ctx context.Context, f *flight, event *outbox.LoadedEvent) {
	var preview *outbox.Preview
	var err error
	if event != nil {
		f.identify(event)
		preview, err = n.previewInTime(ctx, &outbox.Previewed{Event: event, Delivery: *f.delivery, Open: true, Now: n.replica.Now()})
	}
	if ctx.Err() != nil {
		return // the next owner finds it as it is
	}
	switch {
	case event == nil:
		f.attempt.Reason, f.attempt.Shadow = shadowFailed(poison("its event cannot be read").Reason)
	case err != nil:
		f.attempt.Reason, f.attempt.Shadow = shadowFailed("it could not be prepared: " + err.Error())
	default:
		f.attempt.Reason, f.attempt.Shadow = shadowOf(preview)
	}
	n.land(f)
}

// previewInTime gives up on a connector that does not return.
func (n *incarnation) previewInTime(ctx context.Context, p *outbox.Previewed) (preview *outbox.Preview, err error) {
	type result struct {
		preview *outbox.Preview
		err     error
	}
	done := make(chan result, 1)
	go func() {
		err := n.persist(ctx, "preparing in shadow", func(ctx context.Context) (err error) {
			preview, err := n.Preview(ctx, p)
			if err == nil {
				preview, err = n.previewOutdated(ctx, p, preview)
			}
			if err == nil || errors.Is(err, ErrNoDestination) || errors.Is(err, errPreviewPanicked) {
				done <- result{preview, err}
				return nil
			}
			return err
		})
		if err != nil {
			done <- result{nil, err}
		}
	}()
	late := time.NewTimer(shadowTimeout)
	defer late.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		return r.preview, r.err
	case <-late.C:
		return nil, fmt.Errorf("the connector did not return within %s", shadowTimeout)
	}
}

// previewOutdated previews once more what misses look-ups, where the mappings have changed
// and this process has not heard of it yet: what is there already is not missing.
func (n *incarnation) previewOutdated(ctx context.Context, p *outbox.Previewed, preview *outbox.Preview) (*outbox.Preview, error) {
	missing := slices.ContainsFunc(preview.Steps, func(s outbox.PreviewStep) bool { return len(s.Missing) > 0 })
	if !missing || n.config.Mappings == nil {
		return preview, nil
	}
	version, err := n.config.Store.MappingsVersion(ctx, p.Event.Tenant)
	if err != nil || version <= preview.Mappings {
		return preview, err
	}
	n.awaitMappings(ctx, p.Event.Tenant, version-1)
	return n.Preview(ctx, p)
}

func shadowFailed(reason string) (string, *outbox.Shadow) {
	cause := outbox.ShadowCause{Cause: outbox.Cause{Class: "POISON", Rule: "prepare"}, Reason: reason}
	return "in shadow: would need a person: " + reason, &outbox.Shadow{Prospect: outbox.WouldHold, Causes: []outbox.ShadowCause{cause}}
}

// shadowOf is what the steps of a preview come to together, and that in words.
func shadowOf(p *outbox.Preview) (reason string, s *outbox.Shadow) {
	s = &outbox.Shadow{Prospect: outbox.WouldSkip}
	var first string // reason why not
	var requests []string
	for _, step := range p.Steps {
		switch step.Prospect {
		case outbox.WouldHold:
			s.Prospect = outbox.WouldHold
			first = firstReason(first, step.Reason)
			s.Causes = append(s.Causes, shadowCauses(&step)...)
		case outbox.WouldSupersede:
			s.Prospect = outbox.WouldSupersede
			first = firstReason(first, step.Reason)
		case outbox.WouldSend, outbox.WouldUpdate, outbox.WouldAsk, outbox.WouldWait, outbox.NotKnown:
			if s.Prospect == outbox.WouldSkip {
				s.Prospect = outbox.WouldSend
			}
			if step.Name != "" {
				requests = append(requests, step.Name)
			}
		default:
			first = firstReason(first, step.Reason)
		}
	}
	switch s.Prospect {
	case outbox.WouldHold:
		reason = "in shadow: would need a person: " + first
	case outbox.WouldSend:
		reason = "in shadow: would be sent"
		if len(requests) > 0 {
			reason += ": " + strings.Join(requests, ", ")
		}
	default:
		reason = "in shadow: nothing would be sent: " + first
	}
	return reason, s
}

func firstReason(first, next string) string {
	if first != "" {
		return first
	}
	return next
}

// shadowCauses are all that would hold a step.
func shadowCauses(step *outbox.PreviewStep) (causes []outbox.ShadowCause) {
	for _, m := range step.Missing {
		causes = append(causes, outbox.ShadowCause{Cause: outbox.Cause{Class: m.Class, Rule: outbox.RuleLookUp, Code: m.Value, Field: m.Table}, Reason: m.String()})
	}
	if len(causes) == 0 {
		causes = append(causes, outbox.ShadowCause{Cause: step.Cause, Reason: step.Reason})
	}
	return causes
}
