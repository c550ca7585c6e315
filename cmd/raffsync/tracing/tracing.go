package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracing makes the spans of this process.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	sampler  sdktrace.Sampler
}

// New is nil where the environment does not ask for traces. Its error is about what the
// environment says; nothing is connected before there is a span to send.
func New(ctx context.Context, version string, log *slog.Logger) (*Tracing, error) {
	on, err := asked()
	if err != nil || !on {
		return nil, err
	}
	s, err := sampler()
	if err != nil {
		return nil, err
	}
	to, err := exporter(ctx)
	if err != nil {
		return nil, err
	}
	// What the environment says of the resource wins.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "raffsync"), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(&complaints{log: log})
	return made(s, sdktrace.WithBatcher(to), sdktrace.WithResource(about)), nil
}

func made(s sdktrace.Sampler, options ...sdktrace.TracerProviderOption) *Tracing {
	p := sdktrace.NewTracerProvider(append(options, sdktrace.WithSampler(s), sdktrace.WithIDGenerator(generator{}))...)
	return &Tracing{provider: p, tracer: p.Tracer("raffsync"), sampler: s}
}

// Close sends what is left, until the context ends.
func (t *Tracing) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// sampled is the same in every process that has the same sampler.
func (t *Tracing) sampled(id trace.TraceID) bool {
	return t.sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: id}).Decision == sdktrace.RecordAndSample
}

// complaints logs what the SDK says, once a minute at most: a collector that is away is
// no trouble of ours.
type complaints struct {
	log  *slog.Logger
	last atomic.Int64 // nanoseconds since the epoch
}

// Handle implements the SDK's ErrorHandler.
func (c *complaints) Handle(err error) {
	now, last := time.Now().UnixNano(), c.last.Load()
	if now-last >= int64(time.Minute) && c.last.CompareAndSwap(last, now) {
		c.log.Warn("traces are not sent; everything else goes on", "error", err)
	}
}
