package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"raffsync/broker"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Durable makes the first spans of events that are new; of any other the trace has
// begun. It is for [broker.Observer].
func (t *Tracing) Durable(d broker.Durable) {
	var links []trace.Link
	for i := range d.Entries {
		event := &d.Entries[i].Event
		if d.Results[i].Verdict != outbox.Appended {
			continue
		}
		name := dispatch.EventName{Tenant: event.Tenant, Source: d.Source, ID: event.ID}
		id := idsOf(name)
		if !t.sampled(id.trace) {
			continue
		}
		if links == nil {
			links = linkTo(d.Traceparent)
		}
		ctx, accept := t.tracer.Start(want(context.Background(), id.trace, id.first), "accept",
			trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(d.Received), trace.WithLinks(links...),
			trace.WithAttributes(append(attributesOf(name),
				attribute.String("raffsync.type", event.Type),
				attribute.String("raffsync.ordering_key", event.OrderingKey),
				attribute.Int("raffsync.destinations", len(d.Entries[i].Targets)))...))
		// The context wants the first span's ids; its children have ids of their own.
		t.span(trace.ContextWithSpanContext(context.Background(), trace.SpanContextFromContext(ctx)), "commit", trace.SpanKindInternal,
			d.Began, attribute.Int("raffsync.batch.events", d.Events)).End(trace.WithTimestamp(d.Ended))
		accept.End(trace.WithTimestamp(d.Ended))
	}
}

// linkTo is the span that a client was in when it called; empty, and not nil, where
// what it sent is none.
func linkTo(traceparent string) []trace.Link {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
	if c := trace.SpanContextFromContext(ctx); c.IsValid() {
		return []trace.Link{{SpanContext: c}}
	}
	return []trace.Link{}
}

// Sending gives a connector the span of its request, which is made when the outcome is
// stored. It is for [dispatch.Observer].
func (t *Tracing) Sending(ctx context.Context, e dispatch.EventName, destination string, request int) context.Context {
	id := idsOf(e)
	return trace.ContextWithSpanContext(ctx, t.context(id, id.request(destination, request)))
}

// TraceID names the event's trace, as 32 hexadecimal digits; none where the event is
// not known. It is for [dispatch.Observer].
func (t *Tracing) TraceID(e dispatch.EventName) string {
	if e == (dispatch.EventName{}) {
		return ""
	}
	return idsOf(e).trace.String()
}

// Attempted makes the spans of an attempt. One that nobody read the event of has none:
// which trace it belongs to is not known there. It is for [dispatch.Observer].
func (t *Tracing) Attempted(a dispatch.Attempted) {
	if a.Event == (dispatch.EventName{}) {
		return
	}
	id := idsOf(a.Event)
	if !t.sampled(id.trace) {
		return
	}
	of := a.Transition
	began := a.Stored
	for _, at := range []time.Time{a.Sent, a.IntendedFrom} {
		if !at.IsZero() {
			began = at
		}
	}
	parent := trace.ContextWithRemoteSpanContext(context.Background(), t.context(id, id.first))
	attempt := t.span(parent, "attempt", trace.SpanKindInternal, began, append(attributesOf(a.Event),
		attribute.String("raffsync.destination", a.Destination.Name),
		attribute.Int("raffsync.attempt", a.Request),
		attribute.String("raffsync.kind", outbox.Class(of.Kind)),
		attribute.String("raffsync.state", of.To))...)
	within := trace.ContextWithSpanContext(context.Background(), attempt.SpanContext())
	if !a.IntendedFrom.IsZero() {
		t.span(within, "intent", trace.SpanKindInternal, a.IntendedFrom,
			attribute.Int("raffsync.batch.deliveries", a.Intents)).End(trace.WithTimestamp(a.IntendedTill))
	}
	if !a.Sent.IsZero() {
		request := t.span(want(within, id.trace, id.request(a.Destination.Name, a.Request)), "request", trace.SpanKindClient, a.Sent,
			attribute.String("raffsync.destination", a.Destination.Name))
		if of.Detail.Status != 0 {
			request.SetAttributes(attribute.Int("http.response.status_code", of.Detail.Status))
		}
		judge(request, of)
		request.End(trace.WithTimestamp(a.Sent.Add(of.Duration)))
	}
	judge(attempt, of)
	attempt.End(trace.WithTimestamp(a.Stored))
}

// judge marks a span of an attempt that did not succeed. The reason is in the timeline:
// it may quote the platform, and spans go elsewhere.
func judge(s trace.Span, t *outbox.Transition) {
	if t.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED {
		s.SetStatus(codes.Error, outbox.Class(t.Kind))
	}
}

// context names a span of an event's trace.
func (t *Tracing) context(id ids, span trace.SpanID) trace.SpanContext {
	config := trace.SpanContextConfig{TraceID: id.trace, SpanID: span, Remote: true}
	if t.sampled(id.trace) {
		config.TraceFlags = trace.FlagsSampled
	}
	return trace.NewSpanContext(config)
}

// span begins one. What it is of has been: so it is given its times.
func (t *Tracing) span(parent context.Context, name string, kind trace.SpanKind, from time.Time, about ...attribute.KeyValue) trace.Span {
	_, s := t.tracer.Start(parent, name, trace.WithSpanKind(kind), trace.WithTimestamp(from), trace.WithAttributes(about...))
	return s
}

func attributesOf(e dispatch.EventName) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("raffsync.tenant", e.Tenant), attribute.String("raffsync.source", e.Source), attribute.String("raffsync.event", e.ID),
	}
}
