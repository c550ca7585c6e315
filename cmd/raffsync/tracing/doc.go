// Package tracing follows single events, as OpenTelemetry traces over OTLP.
//
//	accept ─ commit                            the broker; linked to the connector's span
//	└─ attempt                                 the dispatcher, perhaps hours later, elsewhere
//	   ├─ intent
//	   └─ request ─traceparent─▶ the platform
//
// The trace of an event is computed from its name: SHA-256 over tenant, source and id
// is the trace id and the id of its first span. So whoever handles the event continues
// its trace, in any process and at any time, and nothing is stored for it; and whether
// it is sampled is the same everywhere, since the ratio is held against the trace id.
//
// A connector's stream carries many events, each with a trace of its own: the span that
// it was opened in is not their parent, but linked to by each.
//
// What it promises:
//
//   - It is off unless the environment asks for it, and then costs nothing.
//   - It is never waited for: spans are made after those who wait were told, and
//     dropped where the collector is slower than they are made, or away.
//   - No payload, no address and no secret is in a span.
//
// The standard variables hold: OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT) or
// OTEL_TRACES_EXPORTER=otlp turn it on; OTEL_SDK_DISABLED=true and
// OTEL_TRACES_EXPORTER=none off; OTEL_EXPORTER_OTLP_PROTOCOL is http/protobuf or grpc;
// headers, certificates, OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES are as OpenTelemetry documents them.
package tracing
