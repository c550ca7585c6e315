package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"raffsync/connectors/hooks"
	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

const hookedShop = `
tenant: kopi
sources:
  shop:
    webhook: {signature: {scheme: shopify, secrets: ["env:SHOP_SECRET", "env:SHOP_SECRET_BEFORE"]}}
  blog:
    webhook: {signature: {scheme: woocommerce, secrets: ["env:SHOP_SECRET"]}}
  till:
    webhook: {signature: {scheme: hmac-sha256, header: X-Sign, timestamp_header: X-Time, signed: "${timestamp}.${body}", secrets: ["env:SHOP_SECRET"]}}
    event: {id: "${body.id}", type: order.created, ordering_key: "order/${body.%s}", references: {order: "${body.number}"}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
routes:
  all: {to: books}
`

// signer signs as the source's sender does, by a secret of its own.
func signer(t testing.TB, signature, secret string) *hooks.Source {
	t.Helper()
	s, err := hooks.New(hooks.Config{
		Tenant: "kopi", Name: "shop", Webhook: json.RawMessage(`{"format": "json", "signature": ` + signature + `}`),
		Event: json.RawMessage(`{"id": "1", "type": "x", "ordering_key": "k"}`), Secret: func(string) (string, error) { return secret, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	bySHOP = `{"scheme": "shopify", "secrets": ["env:X"]}`
	byTILL = `{"scheme": "hmac-sha256", "header": "X-Sign", "timestamp_header": "X-Time", "signed": "${timestamp}.${body}", "secrets": ["env:X"]}`
)

// reply is what a receiver answered.
type reply struct {
	Code                         int `json:"-"`
	Header                       http.Header
	Text                         string
	Status, Event, Reason, Cause string
}

// posted posts a body, signed if there is a signer, and returns the answer.
func posted(t testing.TB, to string, s *hooks.Source, body string, headers ...string) (r reply) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	if s != nil {
		s.Sign(q.Header, []byte(body), "m1", time.Now())
	}
	response, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	var said struct{ Status, Event, Code, Reason string }
	_ = json.Unmarshal(text.Bytes(), &said)
	return reply{Code: response.StatusCode, Header: response.Header, Text: text.String(), Status: said.Status, Event: said.Event, Reason: said.Reason, Cause: said.Code}
}

// shopifySamples are webhooks as Shopify sent them, or one of ours where they are not on
// this machine.
func shopifySamples(t testing.TB) map[string]hooks.Recorded {
	t.Helper()
	folder := os.Getenv("RAFFSYNC_SHARED_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data")
	}
	paths, _ := filepath.Glob(filepath.Join(folder, "webhooks", "shopify", "*.json"))
	if len(paths) == 0 {
		t.Log("the real data is not on this machine (RAFFSYNC_SHARED_DATA names its folder): a webhook of ours stands in for Shopify's")
		return map[string]hooks.Recorded{"orders.create.json": {
			Header: http.Header{"X-Shopify-Topic": {"orders/create"}, "X-Shopify-Webhook-Id": {"w1"}},
			Body:   []byte(`{"id": 820982911946154508, "order_number": 1234, "total_price": "409.94"}`),
		}}
	}
	all := make(map[string]hooks.Recorded)
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		recorded, ok := hooks.ReadRecorded(content)
		if !ok {
			t.Fatalf("%s is no recorded webhook", path)
		}
		all[filepath.Base(path)] = recorded
	}
	return all
}

// Signed webhooks come in, are delivered, and what makes no sense is kept; what is not
// signed is refused, and a reload changes what an event is made of.
func TestProgram_ReceivesWebhooks(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	in := newInstallation(t)
	in.env = append(in.env, "SHOP_SECRET=hush", "SHOP_SECRET_BEFORE=before")
	secret := "file:" + in.write("books.secret", receiverSecret)
	config := in.write("shop.yaml", fmt.Sprintf(hookedShop, "nothing", r.server.URL, secret))
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	db := in.database()
	at := "http://" + in.http + "/hooks/"

	shop, before, stranger := signer(t, bySHOP, "hush"), signer(t, bySHOP, "before"), signer(t, bySHOP, "hish")
	samples := shopifySamples(t)
	var lastHeaders []string
	var lastBody string
	for name, sample := range samples {
		var headers []string
		for h := range sample.Header {
			headers = append(headers, h, sample.Header.Get(h))
		}
		if got := posted(t, at+"shop", stranger, string(sample.Body), headers...); got.Code != http.StatusUnauthorized || got.Text != "unauthorized\n" {
			t.Errorf("%s, by a stranger: %+v", name, got)
		}
		got := posted(t, at+"shop", shop, string(sample.Body), headers...)
		if got.Code != http.StatusOK || got.Status != "accepted" || got.Event != sample.Header.Get("X-Shopify-Webhook-Id") {
			t.Errorf("%s: %+v", name, got)
		}
		if got := posted(t, at+"kopi/shop", before, string(sample.Body), headers...); got.Code != http.StatusOK || got.Status != "duplicate" {
			t.Errorf("%s again, by the secret before: %+v", name, got)
		}
		lastHeaders, lastBody = headers, string(sample.Body)
	}
	if got := posted(t, at+"shop", shop, lastBody+" ", lastHeaders...); got.Code != http.StatusOK || got.Status != "conflict" {
		t.Errorf("the same id with another body: %+v", got)
	}
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, func() string { return "deliveries are open:\n" + p.log.String() })
	for name, sample := range samples {
		if n := r.effectsOf(sample.Header.Get("X-Shopify-Webhook-Id")); n != 1 {
			t.Errorf("%s took effect %d times", name, n)
		}
	}

	// What makes no sense.
	till := signer(t, byTILL, "hush")
	for i, body := range []string{`{"id": "t1"}`, `{"id": "t2"}`, "<html>", `{"id": 1, "id": 2}`, `{"id": "` + strings.Repeat("x", 10<<20) + `"}`} {
		want := []string{"EVENT_ORDERING_KEY", "EVENT_ORDERING_KEY", "BODY_NOT_JSON", "BODY_DUPLICATE_NAME", "BODY_TOO_LARGE"}[i]
		for _, again := range []string{"", " again"} {
			if got := posted(t, at+"till", till, body); got.Code != http.StatusOK || got.Status != "quarantined" || got.Cause != want {
				t.Errorf("%.40s%s: %+v", body, again, got)
			}
		}
	}
	if got := posted(t, at+"blog", nil, "webhook_id=3", "Content-Type", "application/x-www-form-urlencoded"); got.Code != http.StatusOK || got.Status != "ping" {
		t.Errorf("WooCommerce's ping: %+v", got)
	}
	for what, sql := range map[string]string{
		"one exception a cause": `SELECT (SELECT string_agg(code || ' ' || held, ', ' ORDER BY code) FROM exceptions WHERE class = 'QUARANTINED') = 'BODY_DUPLICATE_NAME 1, BODY_NOT_JSON 1, BODY_TOO_LARGE 1, EVENT_ORDERING_KEY 2'`,
		"as it came":            `SELECT count(*) = 1 FROM quarantined WHERE code = 'BODY_NOT_JSON' AND body = '<html>'`,
		"the beginning":         `SELECT count(*) = 1 FROM quarantined WHERE code = 'BODY_TOO_LARGE' AND length(body) = 524288 AND body_bytes = 10485770`,
		"no credential":         `SELECT count(*) = 0 FROM quarantined WHERE headers::text ~* 'sign|time|auth'`,
	} {
		if !query[bool](t, db, sql) {
			t.Errorf("not %s", what)
		}
	}

	// What is no webhook.
	if got := posted(t, at+"nobody", shop, lastBody, lastHeaders...); got.Code != http.StatusNotFound {
		t.Errorf("a source that is not there: %+v", got)
	}
	if got := posted(t, at+"other/shop", shop, lastBody, lastHeaders...); got.Code != http.StatusNotFound {
		t.Errorf("a source of another tenant: %+v", got)
	}
	if got := posted(t, at+"till", nil, `{"id": "t3"}`); got.Code != http.StatusUnauthorized {
		t.Errorf("no signature: %+v", got)
	}
	if got := posted(t, at+"till", till, `{"id": "t3"}`, "X-Time", "1492774577"); got.Code != http.StatusUnauthorized {
		t.Errorf("a stale one: %+v", got)
	}
	response, err := http.Get(at + "till")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != http.MethodPost {
		t.Errorf("GET: %s, Allow %q", response.Status, response.Header.Get("Allow"))
	}

	// Applied again, without a restart, the same webhook makes sense.
	in.run("apply", in.write("shop.yaml", fmt.Sprintf(hookedShop, "id", r.server.URL, secret)), "--development")
	if got := posted(t, at+"till", till, `{"id": "t1"}`); got.Code != http.StatusOK || got.Status != "accepted" || got.Event != "t1" {
		t.Errorf("after the change: %+v", got)
	}

	list := in.run("quarantine")
	var exception string
	for l := range strings.Lines(list) {
		if strings.Contains(l, "EVENT_ORDERING_KEY") {
			exception = strings.Fields(l)[0]
		}
	}
	if shown := in.run("quarantine", "list", exception); !strings.Contains(shown, `{"id": "t2"}`) || !strings.Contains(shown, "event.ordering_key: ") {
		t.Errorf("the list shows\n%s\nand of %s\n%s", list, exception, shown)
	}
	if out := in.run("quarantine", "retry", exception, "--reason", "it is called id"); !strings.Contains(out, "2 of 2 webhooks became events") {
		t.Errorf("retry says\n%s", out)
	}
	for what, sql := range map[string]string{
		"one event each": `SELECT count(*) = 2 FROM events WHERE id IN ('t1', 't2')`,
		"resolved":       `SELECT count(*) = 1 FROM exceptions WHERE code = 'EVENT_ORDERING_KEY' AND status = 'RESOLVED' AND held = 0`,
		"by whom":        `SELECT count(*) = 2 FROM timeline t JOIN exceptions x ON x.id = t.exception WHERE x.code = 'EVENT_ORDERING_KEY' AND t.what IN ('retry', 'resolved') AND t.actor LIKE '%(command line)'`,
	} {
		if !query[bool](t, db, sql) {
			t.Errorf("evaluated again, not %s", what)
		}
	}
	list = in.run("quarantine")
	for l := range strings.Lines(list) {
		if strings.Contains(l, "BODY_NOT_JSON") {
			exception = strings.Fields(l)[0]
		}
	}
	if out, stderr, code := in.try("quarantine", "retry", exception, "--reason", "to see"); code != 1 || !strings.Contains(out, "0 of 1 webhook became events") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}

	out := in.run("send", "till", in.write("order.json", `{"id": "t9", "number": "1042"}`), "--times", "3")
	if want := "200 OK · accepted · event t9\n200 OK · duplicate · event t9\n200 OK · duplicate · event t9\n  → books  DELIVERED"; !strings.HasPrefix(out, want) {
		t.Errorf("send says\n%s\nwant\n%s", out, want)
	}
	if out, _, code := in.try("send", "till", in.write("bad.json", `{"number": "1042"}`)); code != 0 || !strings.Contains(out, "quarantined as EVENT_ID · event.id: ") {
		t.Errorf("exit %d, send says\n%s", code, out)
	}
	if out := in.run("send", "shop", in.write("shopify.json", `{"id": 7}`), "--topic", "orders/create", "--config", config, "--id", "w-7"); !strings.HasPrefix(out, "200 OK · accepted · event w-7") {
		t.Errorf("send says\n%s", out)
	}

	counted := values(p.scrape(), "raffsync_hooks_requests_total")
	for result, want := range map[string]float64{
		"result=accepted source=shop tenant=kopi": float64(len(samples)) + 1, "result=untrusted source=shop tenant=kopi": float64(len(samples)),
		"result=quarantined source=till tenant=kopi": 11, "result=ping source=blog tenant=kopi": 1, "result=unknown source= tenant=": 2, "result=method source=till tenant=kopi": 1,
	} {
		if counted[result] != want {
			t.Errorf("%s counts %v, want %v", result, counted[result], want)
		}
	}
	if why := values(p.scrape(), "raffsync_hooks_untrusted_total"); why["source=till tenant=kopi why=stale"] != 1 || why["source=till tenant=kopi why=missing"] != 1 {
		t.Errorf("refused %v", why)
	}
	if log := p.log.String(); strings.Contains(log, "hush") || strings.Contains(log, "<html>") || !strings.Contains(log, "webhooks are refused") {
		t.Error("the log shows a secret or a payload, or not that webhooks were refused")
	}
	p.signal(syscall.SIGTERM)
}

// hooked is a process in this one, with the source till, on a server that can be stopped.
func hooked(t *testing.T, server *outboxtest.Server, spaced spaceFlags) (a *app, dsn string) {
	t.Helper()
	dsn = server.NewDatabase()
	store, err := outbox.Open(t.Context(), outbox.Config{DSN: dsn, AllowUnsafe: true, Lease: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if _, err := store.Apply(t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.Configuration{Tenant: "kopi", Sources: []outbox.SourceConfig{{
		Name: "till", Webhook: json.RawMessage(`{"signature": {"scheme": "none"}}`), Event: json.RawMessage(`{"id": "${body.id}", "type": "x", "ordering_key": "k"}`),
	}}}, "for a test"); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	a, err = newApp(t.Context(), appConfig{
		store: store, log: log, http: "127.0.0.1:0", grpc: "127.0.0.1:0", metrics: "off", lease: 2 * time.Second,
		watermark: newWatermark(spaced, &database{}, store.Size, log),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- a.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	return a, dsn
}

// What cannot be made durable is answered with 503, and is one event however often it is
// sent again.
func TestApp_AnswersWebhooksOnceDurable(t *testing.T) {
	t.Parallel()
	server := outboxtest.NewServer(t, outboxtest.ServerOptions{Fsync: true})
	a, dsn := hooked(t, server, spaceFlags{})
	at := "http://" + a.httpAt.Addr().String() + "/hooks/till"
	if got := posted(t, at, nil, `{"id": "first"}`); got.Code != http.StatusOK || got.Status != "unrouted" {
		t.Fatalf("before: %+v", got)
	}
	release := server.HoldCommits()
	if got := posted(t, at, nil, `{"id": "held"}`); got.Code != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("while no COMMIT returns: %+v", got)
	}
	if got := posted(t, at, nil, `<html>`); got.Code != http.StatusServiceUnavailable {
		t.Errorf("quarantine while no COMMIT returns: %+v", got)
	}
	release()
	server.Kill()
	if got := posted(t, at, nil, `{"id": "killed"}`); got.Code != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("without Postgres: %+v", got)
	}
	server.Start()
	for _, body := range []string{`{"id": "held"}`, `{"id": "killed"}`, `<html>`} {
		waitUntil(t, func() bool { return posted(t, at, nil, body).Code == http.StatusOK }, func() string { return body + " is not taken" })
	}
	db := connect(t, dsn)
	if n := query[int](t, db, `SELECT count(*) FROM events`); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
	if n := query[int](t, db, `SELECT held::int FROM exceptions WHERE class = 'QUARANTINED'`); n != 1 {
		t.Errorf("%d are quarantined, want 1", n)
	}

	// Where it drains, and where there is no room, it does not try.
	a.hooks.Drain()
	if got := posted(t, at, nil, `{"id": "late"}`); got.Code != http.StatusServiceUnavailable {
		t.Errorf("while it drains: %+v", got)
	}
}

func TestApp_RefusesWebhooksBeforeTheDiskIsFull(t *testing.T) {
	t.Parallel()
	a, _ := hooked(t, outboxtest.NewServer(t, outboxtest.ServerOptions{}), spaceFlags{MaxDatabaseSize: 1 << 20})
	if got := posted(t, "http://"+a.httpAt.Addr().String()+"/hooks/till", nil, `{"id": "1"}`); got.Code != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("%+v", got)
	}
}
