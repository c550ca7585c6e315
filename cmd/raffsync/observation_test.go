package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/trace"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"raffsync/connectors/client"
	"raffsync/outbox/outboxtest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(context.Background()) })
	return db
}

// metricsAt is where the process says that its metrics are.
func (p *process) metricsAt() string {
	p.t.Helper()
	found := regexp.MustCompile(`"msg":"ready".*"metrics":"([^"]+)"`).FindStringSubmatch(p.log.String())
	if found == nil {
		p.t.Fatalf("it does not say where its metrics are:\n%s", p.log)
	}
	return found[1]
}

// scrape is what Prometheus would get.
func (p *process) scrape() map[string]*dto.MetricFamily {
	p.t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get("http://" + p.metricsAt() + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("status %d, %v", response.StatusCode, err)
	}
	return families
}

// values are those of one family, by its labels in order; of histograms the counts.
// What is zero is left out.
func values(families map[string]*dto.MetricFamily, name string) map[string]float64 {
	all := make(map[string]float64)
	for _, m := range families[name].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetName()+"="+l.GetValue())
		}
		v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		if v != 0 {
			all[strings.Join(labels, " ")] = v
		}
	}
	return all
}

// send has a connector send events, and waits for their acknowledgements.
func send(t testing.TB, ctx context.Context, in *installation, key string, events ...*raffsyncv1.Event) {
	t.Helper()
	c, err := client.New(client.Config{Target: in.grpc, Key: key, Name: "till of the test"})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	for _, e := range events {
		if err := c.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}

func testEvent(id, key, typ string) *raffsyncv1.Event {
	return &raffsyncv1.Event{Id: id, Type: typ, OrderingKey: key, Data: &raffsyncv1.Event_TextData{TextData: `{"lines":[]}`}}
}

const observedShop = `
tenant: kopi
sources: {till: {}, web: {}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
  stock: {webhook: {url: %q, secret: %q}}
routes:
  all: {from: till, to: books, types: ["order.*"], retry: {initial: 50ms, cap: 200ms, attempts: 1000}}
  some: {from: till, to: stock, types: ["order.*"]}
`

// attemptsOf counts the timeline's attempts as the metric does.
func attemptsOf(t testing.TB, db *pgx.Conn) map[string]float64 {
	t.Helper()
	rows, err := db.Query(t.Context(), `
SELECT 'destination=' || d.name || ' kind=' || CASE t.kind WHEN 1 THEN 'DELIVERED' WHEN 2 THEN 'TRANSIENT' WHEN 15 THEN 'VALIDATION' ELSE t.kind::text END || ' tenant=kopi', count(*)::float8
  FROM timeline t JOIN destinations d ON d.id = t.destination WHERE t.what = 'attempt' GROUP BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	var name string
	var n float64
	if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error { all[name] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// What is scraped is what happened, number by number: events against what the client
// was told, attempts against the timeline, gauges against the tables.
func TestProgram_Metrics(t *testing.T) {
	t.Parallel()
	books, stock := newReceiver(t), newReceiver(t)
	books.misbehave = func(w http.ResponseWriter, _ *http.Request, n int) (handled, effect bool) {
		if n%5 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true, false
		}
		return false, false
	}
	stock.misbehave = func(w http.ResponseWriter, r *http.Request, _ int) (handled, effect bool) {
		if r.Header.Get("Ce-Id") == "e7" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return true, false
		}
		return false, false
	}
	dsn := outboxtest.NewDatabase(t)
	in := newInstallation(t)
	secret := "file:" + in.write("books.secret", receiverSecret)
	config := in.write("shop.yaml", fmt.Sprintf(observedShop, books.server.URL, secret, stock.server.URL, secret))
	p := in.start("--database", dsn, "--unsafe-postgres", "serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	key := strings.TrimSpace(in.run("--database", dsn, "--unsafe-postgres", "keys", "create", "till"))

	// Nothing has happened, and the series are there.
	before := p.scrape()
	for _, name := range []string{"raffsync_dispatch_delivered_total", "raffsync_dispatch_request_duration_seconds"} {
		if len(before[name].GetMetric()) != 2 {
			t.Errorf("%s has %d series before anything happened, want one for each destination", name, len(before[name].GetMetric()))
		}
	}

	var events []*raffsyncv1.Event
	for i := range 40 {
		events = append(events, testEvent(fmt.Sprint("e", i), fmt.Sprint("order/", i), "order.created"))
	}
	send(t, t.Context(), in, key, append(events,
		testEvent("m1", "sku/1", "stock.moved"), testEvent("m2", "sku/1", "stock.moved"), // no route wants them
		testEvent("e1", "order/1", "order.created"), // again
		testEvent("e2", "order/2", "order.paid"),    // another content
		testEvent("", "order/9", "order.created"))...)
	db := connect(t, dsn)
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 1 }, func() string {
		return fmt.Sprintf("%d deliveries are open, want one that was refused\n%s", query[int](t, db, `SELECT count(*) FROM deliveries`), p.log)
	})
	// The last outcome is counted a moment after it is stored.
	attempts := query[float64](t, db, `SELECT count(*)::float8 FROM timeline WHERE what = 'attempt'`)
	sum := func(all map[string]float64) (total float64) {
		for _, v := range all {
			total += v
		}
		return total
	}
	var got map[string]*dto.MetricFamily
	waitUntil(t, func() bool {
		got = p.scrape()
		// What the outbox says may be some seconds old.
		return sum(values(got, "raffsync_dispatch_attempts_total")) >= attempts && sum(values(got, "raffsync_outbox_deliveries_open")) == 1
	}, func() string { return fmt.Sprintf("%v", values(got, "raffsync_dispatch_attempts_total")) })

	timeline := attemptsOf(t, db)
	if timeline["destination=books kind=TRANSIENT tenant=kopi"] == 0 || timeline["destination=stock kind=VALIDATION tenant=kopi"] != 1 {
		t.Errorf("the timeline has %v: the platforms were to fail", timeline)
	}
	requests := map[string]float64{"destination=books tenant=kopi": float64(books.count), "destination=stock tenant=kopi": float64(stock.count)}
	delivered := map[string]float64{"destination=books tenant=kopi": 40, "destination=stock tenant=kopi": 39}
	for name, want := range map[string]map[string]float64{
		"raffsync_ingest_events_total": {
			"source=till status=accepted tenant=kopi": 40, "source=till status=unrouted tenant=kopi": 2,
			"source=till status=duplicate tenant=kopi": 1, "source=till status=conflict tenant=kopi": 1, "source=till status=invalid tenant=kopi": 1,
		},
		"raffsync_dispatch_attempts_total":            timeline,
		"raffsync_dispatch_delivered_total":           delivered,
		"raffsync_dispatch_delivery_duration_seconds": delivered,
		"raffsync_dispatch_request_duration_seconds":  requests,
		"raffsync_outbox_deliveries_open":             {"destination=stock tenant=kopi": 1},
		"raffsync_outbox_deliveries_needing_action":   {"destination=stock tenant=kopi": 1},
		"raffsync_outbox_up":                          {"": 1},
		"raffsync_dispatch_lanes":                     {"": 64},
		"raffsync_ingest_commit_failures_total":       {},
		"raffsync_ingest_streams":                     {},
	} {
		if diff := cmp.Diff(want, values(got, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if age := values(got, "raffsync_outbox_oldest_delivery_age_seconds"); len(age) != 1 || age["destination=stock tenant=kopi"] <= 0 {
		t.Errorf("ages %v, want one of stock alone", age)
	}
	if n := got["raffsync_ingest_commit_events"].GetMetric()[0].GetHistogram().GetSampleSum(); n != 44 {
		t.Errorf("%v events were committed, want 44: all but the invalid one", n)
	}
	if pools := values(got, "raffsync_postgres_sessions_max"); len(pools) != 4 {
		t.Errorf("pools %v", pools)
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "raffsync_build_info"} {
		if got[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	// No id and no key became a label.
	for name, family := range got {
		for series := range values(map[string]*dto.MetricFamily{name: family}, name) {
			if strings.Contains(series, "e7") && strings.HasPrefix(name, "raffsync") && !strings.Contains(series, "version") || strings.Contains(series, "order/") {
				t.Errorf("%s{%s}", name, series)
			}
		}
	}
}

// The second process of a machine starts where nobody said where its metrics shall be.
func TestApp_MetricsPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, test := range map[string]struct {
		asked string
		fails bool
		off   bool
	}{
		"Default": {"", false, false}, "Again": {"", false, false},
		"Taken": {taken.Addr().String(), true, true}, "Off": {"off", false, true}, "Any": {"127.0.0.1:0", false, false},
	} {
		a := &app{config: appConfig{metrics: test.asked, log: newLogger(io.Discard, 0)}}
		err := a.listenMetrics(t.Context())
		if (err != nil) != test.fails || (a.metricsAddress() == "off") != test.off {
			t.Errorf("%s: at %s, %v", name, a.metricsAddress(), err)
		}
		if a.seen.at != nil {
			defer a.seen.at.Close() // not before all of them have listened
		}
	}
}

// collector takes spans over HTTP.
type collector struct {
	server *httptest.Server
	mu     sync.Mutex
	spans  []*tracev1.Span
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collectorv1.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &request) != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("no spans came to %s: %v", r.URL.Path, err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, of := range request.GetResourceSpans() {
			for _, scope := range of.GetScopeSpans() {
				c.spans = append(c.spans, scope.GetSpans()...)
			}
		}
	}))
	t.Cleanup(c.server.Close)
	return c
}

// of are the spans of one trace, by name.
func (c *collector) of(id string) map[string][]*tracev1.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string][]*tracev1.Span)
	for _, s := range c.spans {
		if hex.EncodeToString(s.GetTraceId()) == id {
			all[s.GetName()] = append(all[s.GetName()], s)
		}
	}
	return all
}

// One trace follows an event from the connector's span to the platform's requests,
// over the end of the process that accepted it.
func TestProgram_Trace(t *testing.T) {
	t.Parallel()
	c, r := newCollector(t), newReceiver(t)
	var mu sync.Mutex
	var well bool
	var parents []string // the traceparents that the platform got
	tried := make(chan struct{}, 1)
	r.misbehave = func(w http.ResponseWriter, q *http.Request, _ int) (handled, effect bool) {
		mu.Lock()
		defer mu.Unlock()
		parents = append(parents, q.Header.Get("Traceparent"))
		if well {
			return false, false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		select {
		case tried <- struct{}{}:
		default:
		}
		return true, false
	}
	dsn := outboxtest.NewDatabase(t)
	in := newInstallation(t)
	in.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.server.URL, "OTEL_BSP_SCHEDULE_DELAY=50", "RAFFSYNC_LOG=debug"}
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations: {books: {webhook: {url: %q, secret: %q}}}
routes: {all: {from: till, to: books, retry: {initial: 50ms, cap: 200ms, attempts: 1000}}}
`, r.server.URL, "file:"+in.write("books.secret", receiverSecret)))
	start := func() *process {
		p := in.start("--database", dsn, "--unsafe-postgres", "serve", "--development", "--config", config)
		p.until(`"msg":"ready"`)
		return p
	}
	p := start()
	key := strings.TrimSpace(in.run("--database", dsn, "--unsafe-postgres", "keys", "create", "till"))

	connector := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0xc0, 1}, SpanID: trace.SpanID{0xc0, 2}, TraceFlags: trace.FlagsSampled,
	})
	send(t, trace.ContextWithSpanContext(t.Context(), connector), in, key, testEvent("order-1042", "order/1042", "order.created"))
	<-tried
	p.signal(syscall.SIGTERM)
	if p.err != nil {
		t.Fatalf("%v\n%s", p.err, p.log)
	}
	first := len(c.of("5ead0d18f6faac1e60e7a4dd6734a0f2")["attempt"])
	mu.Lock()
	well = true
	mu.Unlock()
	again := start()
	waitUntil(t, func() bool { return r.effectsOf("order-1042") == 1 }, func() string { return "never delivered" })
	db := connect(t, dsn)
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, func() string { return "its outcome is never stored" })
	again.signal(syscall.SIGTERM)

	// The id is a hash of kopi, till and order-1042: nothing of it was handed over.
	const id = "5ead0d18f6faac1e60e7a4dd6734a0f2"
	spans := c.of(id)
	if len(spans["accept"]) != 1 || len(spans["commit"]) != 1 || first == 0 || len(spans["attempt"]) <= first {
		t.Fatalf("%d accept, %d commit, %d attempts of the first process and %d of both", len(spans["accept"]), len(spans["commit"]), first, len(spans["attempt"]))
	}
	accept := spans["accept"][0]
	from, span := connector.TraceID(), connector.SpanID()
	if links := accept.GetLinks(); len(links) != 1 || !slices.Equal(links[0].GetTraceId(), from[:]) || !slices.Equal(links[0].GetSpanId(), span[:]) {
		t.Errorf("links %v, want the connector's span", links)
	}
	attempts := make(map[string]bool)
	for _, s := range spans["attempt"] {
		attempts[string(s.GetSpanId())] = true
		if string(s.GetParentSpanId()) != string(accept.GetSpanId()) {
			t.Error("an attempt is no child of the acceptance")
		}
	}
	var told []string // what the requests' spans would tell the platform
	for _, s := range spans["request"] {
		if !attempts[string(s.GetParentSpanId())] {
			t.Error("a request is of no attempt")
		}
		told = append(told, "00-"+id+"-"+hex.EncodeToString(s.GetSpanId())+"-01")
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(told)
	slices.Sort(parents)
	if diff := cmp.Diff(told, parents); diff != "" {
		t.Errorf("the platform's traceparents are not the requests' spans (-spans +platform):\n%s", diff)
	}
	if len(spans["intent"]) != len(spans["attempt"]) {
		t.Errorf("%d intents of %d attempts", len(spans["intent"]), len(spans["attempt"]))
	}
	if log := p.log.String(); !strings.Contains(log, `"msg":"attempt"`) || !strings.Contains(log, `"trace_id":"`+id+`"`) {
		t.Errorf("no line of an attempt names the trace:\n%s", log)
	}
}
