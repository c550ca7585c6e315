package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"raffsync/broker"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

var (
	discard = slog.New(slog.DiscardHandler)
	order   = dispatch.EventName{Tenant: "kopi", Source: "till", ID: "order-1042"}
	books   = &dispatch.Destination{ID: 1, Tenant: "kopi", Name: "books"}
)

const connectorSpan = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// The ids are part of what processes of two versions must agree on.
func TestIDs(t *testing.T) {
	id := idsOf(order)
	if got := fmt.Sprint(id.trace, " ", id.first, " ", id.request("books", 2)); got != "5ead0d18f6faac1e60e7a4dd6734a0f2 feb5479ac8fe764c ed6634ddb16ae37c" {
		t.Errorf("the ids of %v are %s", order, got)
	}
	seen := make(map[trace.TraceID]dispatch.EventName)
	for _, e := range []dispatch.EventName{
		order, {Tenant: "kopi", Source: "till", ID: "order-104"}, {Tenant: "kopit", Source: "ill", ID: "order-1042"}, {Tenant: "kopi", Source: "tillorder", ID: "-1042"}, {Tenant: "kopi", ID: "tillorder-1042"},
	} {
		if other, twice := seen[idsOf(e).trace]; twice {
			t.Errorf("%v and %v share a trace", e, other)
		}
		seen[idsOf(e).trace] = e
	}
	if id.request("books", 2) == id.request("books", 3) || id.request("books", 2) == id.request("stock", 2) {
		t.Error("two requests share a span")
	}
}

// Whoever has the same ratio decides alike, whatever a parent says.
func TestSampling(t *testing.T) {
	here := made(sdktrace.TraceIDRatioBased(0.25))
	there := made(sdktrace.TraceIDRatioBased(0.25))
	sampled := 0
	for i := range 10_000 {
		e := dispatch.EventName{Tenant: "kopi", Source: "till", ID: fmt.Sprint("e", i)}
		id := idsOf(e)
		if here.sampled(id.trace) != there.sampled(id.trace) {
			t.Fatalf("%v is sampled in one process alone", e)
		}
		said := trace.SpanContextFromContext(here.Sending(t.Context(), e, "books", 1))
		if said.IsSampled() != here.sampled(id.trace) || said.TraceID() != id.trace {
			t.Fatalf("the platform is told %v of %v", said, e)
		}
		if said.IsSampled() {
			sampled++
		}
	}
	if sampled < 2200 || sampled > 2800 {
		t.Errorf("%d of 10,000 are sampled at a ratio of 0.25", sampled)
	}
}

func TestEnvironment(t *testing.T) {
	variables := []string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
	}
	for name, test := range map[string]struct {
		environment string
		on          bool
		says        string // of the error
	}{
		"Nothing":        {"", false, ""},
		"Endpoint":       {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318", true, ""},
		"TracesEndpoint": {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:4318/v1/traces", true, ""},
		"Exporter":       {"OTEL_TRACES_EXPORTER=otlp", true, ""},
		"GRPC":           {"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc", true, ""},
		"Disabled":       {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 OTEL_SDK_DISABLED=TRUE", false, ""},
		"None":           {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 OTEL_TRACES_EXPORTER=none", false, ""},
		"Zipkin":         {"OTEL_TRACES_EXPORTER=zipkin", false, "expected otlp or none"},
		"Protocol":       {"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=http/json", false, "expected http/protobuf or grpc"},
		"Ratio":          {"OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.1", true, ""},
		"BadRatio":       {"OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=NaN", false, "a ratio of 0 to 1"},
		"Sampler":        {"OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=jaeger_remote", false, "expected always_on"},
		"SaidButUnasked": {"OTEL_SERVICE_NAME=raffsync OTEL_TRACES_SAMPLER=jaeger_remote", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range variables {
				t.Setenv(v, "")
			}
			for pair := range strings.FieldsSeq(test.environment) {
				v, text, _ := strings.Cut(pair, "=")
				t.Setenv(v, text)
			}
			traces, err := New(t.Context(), "1.0.0", discard)
			if (traces != nil) != test.on || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("on: %v, error: %v", traces != nil, err)
			}
			if traces != nil {
				if err := traces.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// follow has an event accepted, refused by the platform, and delivered.
func follow(traces *Tracing) {
	at := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	traces.Durable(broker.Durable{
		Source: order.Source, Traceparent: connectorSpan,
		Entries: []outbox.Entry{
			{Event: outbox.Event{Tenant: "kopi", ID: order.ID, Type: "order.created"}},
			{Event: outbox.Event{Tenant: "kopi", ID: "sent again"}},
		},
		Results:  []outbox.Result{{Verdict: outbox.Appended}, {Verdict: outbox.Duplicate}},
		Received: at, Began: at.Add(time.Millisecond), Ended: at.Add(2 * time.Millisecond), Events: 2,
	})
	for i, kind := range []raffsyncv1.OutcomeKind{raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED} {
		at := at.Add(time.Duration(i+1) * time.Hour)
		traces.Attempted(dispatch.Attempted{
			Event: order, Destination: books, Request: i + 1, Intents: 7,
			IntendedFrom: at, IntendedTill: at.Add(time.Millisecond), Sent: at.Add(2 * time.Millisecond), Stored: at.Add(9 * time.Millisecond),
			Transition: &outbox.Transition{Delivery: &outbox.Delivery{}, Sent: true, Kind: kind, Duration: 5 * time.Millisecond, Reason: "words of the platform", Detail: outbox.Detail{Status: 503}},
		})
	}
	traces.Attempted(dispatch.Attempted{Destination: books, Transition: &outbox.Transition{}, Stored: at}) // whose event nobody read
}

// Two processes that know nothing of each other make one trace.
func TestTrace(t *testing.T) {
	recorder := tracetest.NewInMemoryExporter()
	follow(made(sdktrace.AlwaysSample(), sdktrace.WithSyncer(recorder)))
	spans := recorder.GetSpans()
	id := idsOf(order)
	parents := map[trace.SpanID]string{}
	for _, s := range spans {
		if s.SpanContext.TraceID() != id.trace {
			t.Errorf("%s is in another trace", s.Name)
		}
		if s.EndTime.Before(s.StartTime) {
			t.Errorf("%s ends before it begins", s.Name)
		}
		parents[s.SpanContext.SpanID()] = s.Name
	}
	var tree []string
	for _, s := range spans {
		tree = append(tree, s.Name+" of "+parents[s.Parent.SpanID()])
		for _, a := range s.Attributes {
			if strings.Contains(a.Value.String(), "words of the platform") {
				t.Errorf("%s tells what the platform said", s.Name)
			}
		}
		if strings.Contains(s.Status.Description, "words") {
			t.Errorf("%s tells what the platform said", s.Name)
		}
	}
	slices.Sort(tree)
	if got, want := strings.Join(tree, ", "), "accept of , attempt of accept, attempt of accept, commit of accept, intent of attempt, intent of attempt, request of attempt, request of attempt"; got != want {
		t.Errorf("spans: %s\nwant: %s", got, want)
	}
	for _, s := range spans {
		if s.Name == "accept" && (len(s.Links) != 1 || s.Links[0].SpanContext.TraceID().String() != connectorSpan[3:35]) {
			t.Errorf("the first span is linked to %v, want the connector's", s.Links)
		}
	}
	if parents[id.request("books", 1)] != "request" || parents[id.request("books", 2)] != "request" {
		t.Error("the requests are not the spans that the platform is told of")
	}
	recorder.Reset()
	follow(made(sdktrace.NeverSample(), sdktrace.WithSyncer(recorder)))
	if spans := recorder.GetSpans(); len(spans) > 0 {
		t.Errorf("%d spans of what is not sampled", len(spans))
	}
}

// collector takes spans over gRPC.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracev1.Span
	about []string
}

func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range r.GetResourceSpans() {
		for _, a := range of.GetResource().GetAttributes() {
			c.about = append(c.about, a.GetKey()+"="+a.GetValue().GetStringValue())
		}
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func TestOTLP_GRPC(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	t.Setenv("OTEL_SERVICE_NAME", "raffsync of kopi")
	traces, err := New(t.Context(), "1.0.0", discard)
	if err != nil {
		t.Fatal(err)
	}
	follow(traces)
	if err := traces.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 8 || !slices.Contains(c.about, "service.name=raffsync of kopi") || !slices.Contains(c.about, "service.version=1.0.0") {
		t.Errorf("%d spans of %v, want 8", len(c.spans), c.about)
	}
}

// A collector that takes nothing costs spans, and nobody waits for it.
func TestOTLP_Away(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+silent.Addr().String())
	traces, err := New(t.Context(), "1.0.0", discard)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5000 { // the queue holds 2,048 spans
			follow(traces)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("somebody waits for the collector")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := traces.Close(ctx); err == nil {
		t.Error("everything was sent, to nobody")
	}
}

func BenchmarkTracing(b *testing.B) {
	for name, s := range map[string]sdktrace.Sampler{"Sampled": sdktrace.AlwaysSample(), "NotSampled": sdktrace.NeverSample()} {
		b.Run(name, func(b *testing.B) {
			traces := made(s, sdktrace.WithBatcher(tracetest.NewNoopExporter()))
			b.ReportAllocs()
			for b.Loop() {
				follow(traces)
			}
		})
	}
}
