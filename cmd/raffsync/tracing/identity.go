package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"

	"raffsync/outbox/dispatch"
)

// ids are those of an event's trace: its own, and that of its first span.
type ids struct {
	trace trace.TraceID
	first trace.SpanID
}

// idsOf hashes the event's name, each part prefixed by its length.
func idsOf(e dispatch.EventName) (i ids) {
	text := make([]byte, 0, 256)
	for _, part := range []string{"raffsync trace 1", e.Tenant, e.Source, e.ID} {
		text = append(binary.BigEndian.AppendUint64(text, uint64(len(part))), part...)
	}
	sum := sha256.Sum256(text)
	copy(i.trace[:], sum[:])
	copy(i.first[:], sum[len(i.trace):])
	return i
}

// request is the span of one request: the platform is told of it before it is made.
func (i ids) request(destination string, request int) (span trace.SpanID) {
	text := append(make([]byte, 0, 256), i.trace[:]...)
	text = append(binary.BigEndian.AppendUint64(text, uint64(request)), destination...)
	sum := sha256.Sum256(text)
	copy(span[:], sum[:])
	return span
}

// generator gives a span the ids that its context asks for, and random ones otherwise.
type generator struct{}

type wanted struct {
	trace trace.TraceID
	span  trace.SpanID
}

type wantedKey struct{}

func want(ctx context.Context, t trace.TraceID, s trace.SpanID) context.Context {
	return context.WithValue(ctx, wantedKey{}, wanted{t, s})
}

// NewIDs implements the SDK's IDGenerator.
func (generator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if w, ok := ctx.Value(wantedKey{}).(wanted); ok {
		return w.trace, w.span
	}
	var t trace.TraceID
	binary.BigEndian.PutUint64(t[:], rand.Uint64())
	binary.BigEndian.PutUint64(t[8:], rand.Uint64()|1) // never all zero
	return t, random()
}

// NewSpanID implements the SDK's IDGenerator.
func (generator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if w, ok := ctx.Value(wantedKey{}).(wanted); ok {
		return w.span
	}
	return random()
}

func random() (s trace.SpanID) {
	binary.BigEndian.PutUint64(s[:], rand.Uint64()|1)
	return s
}
