package client

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc/metadata"
)

// withTrace tells the broker which trace the context is in, if it is in one, by the
// metadata `traceparent` of W3C Trace Context. The traces of the events are linked to
// that span; they are none of its children, since a stream outlives most traces.
func withTrace(ctx context.Context) context.Context {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	if parent := carrier["traceparent"]; parent != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", parent)
	}
	return ctx
}
