package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/cmd/raffsync/config"
	"raffsync/outbox"
)

func parse(t testing.TB, content string) outbox.Configuration {
	t.Helper()
	f, err := config.Parse("raffsync.yaml", []byte(content), options(false))
	if err != nil {
		t.Fatal(err)
	}
	return f.Configuration
}

func digest(t testing.TB, c outbox.Configuration) string {
	t.Helper()
	d, err := config.Digest(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const before = `
tenant: kopi
sources: {shop: {}, till: {}, web: {}}
destinations:
  books:
    webhook: {url: "https://books.example.com/h00ks/hunter2", secret: "env:BOOKS_SECRET", headers: {X-Token: "hunter2", X-Team: "env:TEAM"}}
  stock:
    webhook: {url: "https://stock.example.com", secret: "env:STOCK_SECRET", idempotent: true, deduplication_window: 24h}
  old:
    bucket: {path: here}
  moved:
    bucket: {path: there}
routes:
  big: {to: books, when: body.total > 1000}
  all: {to: books, from: [till, shop], types: ["invoice.*", order.created]}
  stock: {to: stock}
  gone: {to: old}
`

const after = `
routes:
  stock: {to: stock, on_exception: pass, retry: {initial: 2s, factor: 3, cap: 10m, attempts: 5, age: 2d}}
  all: {to: books, from: [till], types: [order.created, "invoice.*"]}
  big: {to: books, when: body.total > 2000}
  fresh: {to: moved}
destinations:
  moved:
    webhook: {url: "https://moved.example.com", secret: "env:MOVED_SECRET"}
  books:
    limits: {concurrency: 16}
    timeout: 2500ms
    breaker: {window: 1m, min_requests: 20, failure_ratio: 0.25, open_for: 5s, probes: 1}
    webhook: {url: "https://books.example.com/h00ks/hunter3", secret: "env:NEW_SECRET", headers: {X-Token: "hunter3", X-Team: "env:TEAM"}}
  stock:
    webhook: {url: "https://stock2.example.com", secret: "env:STOCK_SECRET", idempotent: false}
  fresh:
    bucket: {path: here}
sources: {shop: {}, till: {}, app: {}}
tenant: teh
`

func TestDiff(t *testing.T) {
	var got []string
	for _, c := range config.Diff(parse(t, before), parse(t, after)) {
		got = append(got, c.String())
	}
	want := []string{
		"tenant: kopi → teh",
		"source web: removed",
		"source app: added",
		"destination old: removed",
		"destination books: concurrency 32 → 16",
		"destination books: timeout 10s → 2.5s",
		"destination books: breaker.window 30s → 1m",
		"destination books: breaker.min_requests 10 → 20",
		"destination books: breaker.failure_ratio 0.5 → 0.25",
		"destination books: breaker.open_for 10s → 5s",
		"destination books: breaker.probes 3 → 1",
		"destination books: webhook.headers.X-Token changed",
		"destination books: webhook.secret env:BOOKS_SECRET → env:NEW_SECRET",
		"destination books: webhook.url changed (https://books.example.com/…)",
		"destination fresh: added",
		"destination moved: bucket.path … left out",
		"destination moved: kind bucket → webhook",
		"destination moved: webhook.secret set to env:MOVED_SECRET",
		"destination moved: webhook.url set to https://moved.example.com",
		"destination stock: webhook.deduplication_window 24h left out",
		"destination stock: webhook.idempotent true → false",
		"destination stock: webhook.url https://stock.example.com → https://stock2.example.com",
		"route gone: removed",
		"route stock: on_exception block → pass",
		"route stock: retry.initial 1s → 2s",
		"route stock: retry.factor 2 → 3",
		"route stock: retry.cap 5m → 10m",
		"route stock: retry.attempts 12 → 5",
		"route stock: retry.age 24h → 2d",
		"route all: from shop, till → till",
		"route big: when body.total > 1000 → body.total > 2000",
		"route fresh: added",
		"routes: order big, all, stock → stock, all, big",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if strings.Contains(strings.Join(got, "\n"), "hunter") {
		t.Error("a secret is shown")
	}
}

// What a program reads: the action stands for itself, and values are values.
func TestDiff_AsJSON(t *testing.T) {
	from := parse(t, "tenant: kopi\nsources: {shop: {}, removed: {}}\n")
	to := parse(t, "tenant: teh\nsources: {shop: {}, added: {}}\n")
	text, err := json.Marshal(config.Diff(from, to))
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"action":"changed","kind":"tenant","from":"kopi","to":"teh"},{"action":"removed","kind":"source","name":"removed"},{"action":"added","kind":"source","name":"added"}]`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDiff_FromNothing(t *testing.T) {
	var got []string
	for _, c := range config.Diff(outbox.Configuration{}, parse(t, "tenant: kopi\nsources: {shop: {}}\n")) {
		got = append(got, c.String())
	}
	if diff := cmp.Diff([]string{"tenant: none → kopi", "source shop: added"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestDigest holds that a configuration keeps its digest however it is written and
// wherever it was stored, and that every change is seen by Diff and Digest alike.
func TestDigest(t *testing.T) {
	one := parse(t, before)
	other := parse(t, `# the same
tenant:   "kopi"
sources:
  web:
  till: {}
  "shop": {}
destinations:
  stock:
    breaker: {window: 30000ms, min_requests: 10, failure_ratio: 0.50, open_for: 0h10s, probes: 3}
    timeout: 10s
    webhook:
      deduplication_window: 24h
      idempotent: true
      secret: env:STOCK_SECRET
      url: https://stock.example.com
  books:
    limits: {concurrency: 32}
    webhook:
      headers: {X-Team: "env:TEAM", X-Token: hunter2}
      secret: 'env:BOOKS_SECRET'
      url: "https://books.example.com/h00ks/hunter2"
  moved: {bucket: {path: there}}
  old: {bucket: {path: here}}
routes:
  big:
    when: >-
      body.total
      > 1000
    to: books
    on_exception: block
    retry: {age: 1d}
  all: {types: [order.created, "invoice.*"], from: [shop, till], to: books}
  stock: {to: stock}
  gone: {to: old}
`)
	if digest(t, one) != digest(t, other) || len(config.Diff(one, other)) > 0 {
		t.Errorf("formatting alone makes a difference: %v", config.Diff(one, other))
	}

	document, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, document, "", "  "); err != nil {
		t.Fatal(err)
	}
	var stored outbox.Configuration
	if err := json.Unmarshal(indented.Bytes(), &stored); err != nil {
		t.Fatal(err)
	}
	if digest(t, one) != digest(t, stored) || len(config.Diff(one, stored)) > 0 {
		t.Errorf("storing makes a difference: %v", config.Diff(one, stored))
	}

	if digest(t, one) == digest(t, parse(t, after)) {
		t.Error("another configuration has the same digest")
	}
	swapped := strings.Replace(before, "  stock: {to: stock}\n  gone: {to: old}\n", "  gone: {to: old}\n  stock: {to: stock}\n", 1)
	if digest(t, one) == digest(t, parse(t, swapped)) {
		t.Error("another order of routes has the same digest")
	}
}

// TestDiff_SeesEveryField changes each field of the model, one at a time.
func TestDiff_SeesEveryField(t *testing.T) {
	content, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for path, change := range everyField(t) {
		c := parse(t, string(content))
		before := digest(t, c)
		old := config.Canonical(c)
		document, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var fresh outbox.Configuration
		if err := json.Unmarshal(document, &fresh); err != nil {
			t.Fatal(err)
		}
		change(&fresh)
		if digest(t, fresh) == before {
			t.Errorf("%s: the digest stays the same", path)
		}
		if len(config.Diff(old, fresh)) == 0 {
			t.Errorf("%s: no difference is told", path)
		}
	}
}

func TestCanonical_LeavesItsArgumentAlone(t *testing.T) {
	c := outbox.Configuration{
		Sources: []outbox.SourceConfig{{Name: "b"}, {Name: "a"}},
		Routes:  []outbox.RouteConfig{{Name: "r", From: []string{"b", "a"}, Retry: outbox.RetryConfig{Age: time.Hour}}},
		Destinations: []outbox.DestinationConfig{
			{Name: "z", Settings: json.RawMessage(`{"b": 1, "a": 12345678901234567890.10}`)}, {Name: "y", Settings: json.RawMessage(`no JSON`)},
		},
	}
	got := config.Canonical(c)
	if c.Sources[0].Name != "b" || c.Routes[0].From[0] != "b" || c.Destinations[0].Name != "z" {
		t.Error("it sorted what it was given")
	}
	if s := string(got.Destinations[1].Settings); s != `{"a":12345678901234567890.10,"b":1}` {
		t.Errorf("settings %s", s)
	}
	if got.Destinations[0].Name != "y" || string(got.Destinations[0].Settings) != "no JSON" || got.Routes[0].Types == nil {
		t.Errorf("%+v", got)
	}
}

// Rules are shown by their names; that one of them says something else now, by that.
func TestDiff_Rules(t *testing.T) {
	shop := func(rules string) outbox.Configuration {
		return parse(t, `
tenant: kopi
destinations:
  books: {webhook: {url: "https://books.example.com", secret: "env:BOOKS_SECRET"}, rules: [`+rules+`]}
`)
	}
	const gone, closed, open = `{name: gone, status: 404, kind: REFERENCE_GONE}`, `{name: closed, status: 423, kind: PERIOD_CLOSED}`, `{name: closed, status: 423, kind: VALIDATION}`
	for _, test := range []struct{ before, after, want string }{
		{"", gone, "destination books: rules none → gone"},
		{gone, gone + ", " + closed, "destination books: rules gone → gone, closed"},
		{gone + ", " + closed, closed + ", " + gone, "destination books: rules gone, closed → closed, gone"},
		{closed, open, "destination books: rules changed (closed)"},
		{closed, `{kind: PERIOD_CLOSED, status: 423, name: closed}`, "[]"},
	} {
		if got := strings.Trim(fmt.Sprint(config.Diff(shop(test.before), shop(test.after))), "[]"); got != strings.Trim(test.want, "[]") {
			t.Errorf("%s: %s", test.want, got)
		}
	}
}
