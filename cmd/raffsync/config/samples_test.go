package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"raffsync/cmd/raffsync/config"
)

// sampled is a shop whose webhooks, and whose till's events, go to a recipe of two steps and
// to a webhook.
const sampled = `tenant: kopi
outlets: {mall: {timezone: Asia/Jakarta}}
sources:
  shop:
    webhook: {signature: {scheme: hmac-sha256, header: X-Signature, secrets: ["env:NONE"]}}
    event:
      id: "${body.id}/${body.at}"
      type: "${body.type}"
      ordering_key: "order/${body.id}"
      outlet: mall
  till: {}
destinations:
  ledger:
    recipe:
      url: https://ledger.example/v1
      settings: {token: {doc: the token, secret: true}}
      headers: {Authorization: "Bearer ${settings.token}", X-Order: "${string(body.id)}"}
      rules: [{name: done, status: 2xx, kind: DELIVERED}]
      answers: [{name: made, status: 200, body: {id: 1}, expect: {kind: DELIVERED, rule: done}}]
      calls:
        order:
          url: "/orders/${body.id}"
          map:
            day: "${date(body.at, outlet.timezone, 'yyyy-MM-dd')}"
            memo: "${body.memo}"
            lines:
              - $each: {line: "${body.lines}"}
                item: "${lookup('sku', line.sku)}"
                price: "${money(line.price, body.currency)}"
          receipt: {id: $.id, fields: {number: $.number}}
          update: {method: PUT, url: "/orders/${existing.id}", map: {since: "${int(existing.number) + 1}"}}
        invoice:
          url: /invoices
          map: {order: "${int(steps.order.receipt.number)}", total: "${decimal(body.total)}"}
          receipt: {id: $.id}
    settings: {token: "env:NONE"}
  books: {webhook: {url: "https://books.example/events", secret: "env:NONE"}}
routes:
  sales:
    from: shop
    to: ledger
    when: body.total > 0
    version: body.at
    exposure: {amount: "${money(body.total, body.currency)}", currency: "${body.currency}"}
    steps:
      - {name: order, call: order, effect: "order/${body.id}", if_exists: update}
      - {name: invoice, call: invoice, effect: "invoice/${body.id}"}
  copy: {from: [shop, till], to: books}
`

const (
	samplePaid = `{"id": 7, "type": "order.paid", "at": "2026-11-23T20:41:10Z", "total": 54000, "currency": "IDR", "lines": [{"sku": "LATTE", "price": 27000}, {"sku": "OAT", "price": 27000}]}`
	sampleFree = `{"id": 8, "type": "order.paid", "at": "2026-11-23T20:41:11Z", "total": 0, "currency": "IDR", "lines": []}`
	sampleTill = `{"id": "9", "type": "order.closed", "orderingKey": "order/9", "occurredAt": "2026-11-23T10:41:10Z", "data": {"id": 9, "total": 9007199254740993}}`
)

func samples(more ...string) fstest.MapFS {
	files := fstest.MapFS{
		"shop/paid.json":   {Data: []byte(samplePaid)},
		"shop/free.json":   {Data: []byte(`{"headers": {"X-Other": "x"}, "body": ` + sampleFree + `}`)},
		"till/day.jsonl":   {Data: []byte(sampleTill + "\n\n" + strings.Replace(sampleTill, "order/9", "order/10", 1) + "\n")},
		"shop/README.md":   {Data: []byte("not a sample")},
		"README.md":        {Data: []byte("nor this")},
		".hidden/x.json":   {Data: []byte("{")},
		"elsewhere/x.json": {Data: []byte("{")},
	}
	for i := 0; i < len(more); i += 2 {
		files[more[i]] = &fstest.MapFile{Data: []byte(more[i+1])}
	}
	return files
}

func tried(t *testing.T, content string, files fstest.MapFS) (*config.File, error) {
	t.Helper()
	secrets(t)
	o := options(false)
	o.Samples = files
	return config.Parse("shop.yaml", []byte(content), o)
}

// Samples go the way of real events, and say which look-ups there will be, what no sample
// has, and which route none takes.
func TestParse_TriesSamples(t *testing.T) {
	f, err := tried(t, sampled, samples("shops/x.json", samplePaid))
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Trials{
		Samples: []string{"shop/free.json", "shop/paid.json", "till/day.jsonl:1", "till/day.jsonl:3"},
		LookUps: []config.TriedLookUp{
			{"ledger", "sku", "LATTE", "shop/paid.json", "map.lines[0].item"},
			{"ledger", "sku", "OAT", "shop/paid.json", "map.lines[1].item"},
		},
		LeftOut: []string{"routes.sales.steps[0]: map.memo"},
		Foreign: []string{"samples/shops is of no source; did you mean shop?"},
	}
	if diff := cmp.Diff(want, f.Trials); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if f, err = tried(t, sampled, samples("till/day.jsonl", "", "shop/paid.json", sampleFree)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"sales"}, f.Trials.Unreached); diff != "" {
		t.Errorf("unreached (-want +got):\n%s", diff)
	}
	if f, err = tried(t, strings.Replace(sampled, "from: [shop, till]", "from: shop", 1), samples()); err != nil || len(f.Trials.Unrouted) != 2 {
		t.Errorf("%+v, %v", f, err)
	}
}

// What fails for a sample is an error at its place, with the route, the path and the sample,
// and quotes nothing of it.
func TestParse_SamplesShowWhatFails(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"condition":          {"body.total > 0", "body.currency > 0", "shop.yaml:42:11: routes.sales: when: fails for the sample samples/shop/free.json, and of 1 more: it compares"},
		"version":            {"version: body.at", "version: body.lines", "routes.sales: version: fails for the sample samples/shop/paid.json: "},
		"exposure":           {"money(body.total, body.currency)}\", currency", "money(body.total, body.type)}\", currency", "routes.sales: exposure.amount: fails for the sample samples/shop/paid.json: "},
		"no amount":          {"currency: \"${body.currency}\"}", "currency: \"${body.type}\"}", "routes.sales: exposure.amount: fails for the sample samples/shop/paid.json: the currency is not three capital letters"},
		"effect":             {"effect: \"invoice/${body.id}", "effect: \"invoice/${body.no}", "shop.yaml:47:48: routes.sales.steps[1]: effect: fails for the sample samples/shop/paid.json: it reads something that is not there"},
		"url":                {"/orders/${body.id}", "/orders/${body.no}", "shop.yaml:22:16: routes.sales.steps[0]: url: fails for the sample samples/shop/paid.json: it reads something"},
		"header":             {"X-Order: \"${string(body.id)}", "X-Order: \"${body.id + body.type}", "routes.sales.steps[0]: headers.X-Order: fails for the sample samples/shop/paid.json: "},
		"unfit for a header": {"X-Order: \"${string(body.id)}", "X-Order: \"☕${string(body.id)}", "routes.sales.steps[0]: headers.X-Order: fails for the sample samples/shop/paid.json: what the event gives is not fit"},
		"map":                {"money(line.price, ", "money(line.sku, ", "shop.yaml:29:24: routes.sales.steps[0]: map.lines[0].price: fails for the sample samples/shop/paid.json: "},
		"grows":              {"lookup('sku', line.sku)", "[1].map(a, body.lines.map(b, [0,1,2,3,4,5,6,7,8,9].map(c, [0,1,2,3,4,5,6,7,8,9].map(d, [0,1,2,3,4,5,6,7,8,9].map(e, [0,1,2,3,4,5,6,7,8,9].map(f, [0,1,2,3,4,5,6,7,8,9].map(g, f)))))))", "map.lines[0].item: fails for the sample samples/shop/paid.json: it takes more work than the limit"},
		"zone":               {"outlet: mall", "outlet: airport", "map.day: fails for the sample samples/shop/paid.json: "},
		"update":             {"int(existing.number) + 1", "int(body.currency) + int(existing.number)", "routes.sales.steps[0]: update.map.since: fails"},
		"map of the step":    {"call: invoice, effect", "call: invoice, map: {a: {b: \"${body.total / 0}\"}}, effect", "shop.yaml:47:53: routes.sales.steps[1]: map.a.b: fails for the sample samples/shop/paid.json: division by zero"},
		"no event":           {"ordering_key: \"order/${body.id}", "ordering_key: \"order/${body.no}", "shop.yaml:9:21: sources.shop: no event can be made of samples/shop/free.json: event.ordering_key: it reads something that is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(sampled, c.old) {
				t.Fatalf("there is no %q", c.old)
			}
			f, err := tried(t, strings.Replace(sampled, c.old, c.new, 1), samples())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, %+v\nwant %s", err, f, c.want)
			}
			for _, payload := range []string{"27000", "54000", "order.paid"} {
				if strings.Contains(err.Error(), payload) {
					t.Errorf("it quotes %s of the sample: %v", payload, err)
				}
			}
		})
	}
}

func TestParse_SamplesThatAreNone(t *testing.T) {
	many := fstest.MapFS{}
	for i := range 501 {
		many[fmt.Sprintf("shop/%03d.json", i)] = &fstest.MapFile{Data: []byte(samplePaid)}
	}
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"not JSON":         {samples("shop/x.json", "{"), "sources.shop: no event can be made of samples/shop/x.json: the body is no JSON"},
		"doubled name":     {samples("shop/x.json", `{"id": 1, "id": 2}`), "shop/x.json: an object in the body has the same name twice"},
		"empty":            {samples("shop/x.json", ""), "shop/x.json: the body is empty"},
		"too large":        {samples("shop/x.json", strings.Repeat(" ", 1<<20+1)), "shop/x.json: is larger than 1024 KiB"},
		"no object":        {samples("till/x.json", "[1]"), "samples/till/x.json: is no object of JSON"},
		"unknown field":    {samples("till/x.json", `{"id": "1", "typ": "x"}`), "samples/till/x.json: is not the form of an event"},
		"not the contract": {samples("till/x.json", `{"id": "1", "type": "Order Closed", "orderingKey": "o"}`), "samples/till/x.json: type: "},
		"line":             {samples("till/day.jsonl", sampleTill+"\n{}"), "samples/till/day.jsonl: line 2: "},
		"too many":         {many, "holds more than 500 files"},
	} {
		if f, err := tried(t, sampled, c.files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %+v\nwant %s", name, err, f, c.want)
		}
	}
}

// Load takes the folder beside the file.
func TestLoad_SamplesBeside(t *testing.T) {
	secrets(t)
	folder := t.TempDir()
	path := filepath.Join(folder, "shop.yaml")
	write(t, path, sampled, 0o600)
	f, err := config.Load(path, options(false))
	if err != nil || f.Trials != nil {
		t.Fatalf("without a folder: %+v, %v", f, err)
	}
	if err := os.MkdirAll(filepath.Join(folder, config.SamplesFolder, "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, config.SamplesFolder, "shop", "paid.json"), samplePaid, 0o600)
	if f, err = config.Load(path, options(false)); err != nil || len(f.Trials.Samples) != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
}

// Steps that wait for each other, or for themselves, are refused: a receipt is of an earlier
// step.
func TestParse_CircularSteps(t *testing.T) {
	circular := strings.Replace(strings.Replace(sampled, "call: order, effect", `call: order, map: {a: "${steps.invoice.receipt.id}"}, effect`, 1),
		"call: invoice, effect", `call: invoice, map: {a: "${steps.order.receipt.id}", b: "${steps.invoice.receipt.id}"}, effect`, 1)
	_, err := config.Parse("shop.yaml", []byte(circular), options(false))
	for _, want := range []string{
		`routes.sales.steps[0].map.a: no step before this one is named "invoice": there is none before this one`,
		`routes.sales.steps[1].map.b: no step before this one is named "invoice": those before this one are order`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	// So is what a recipe's own maps say, which leave out what a route has no step for.
	steps := `      - {name: order, call: order, effect: "order/${body.id}", if_exists: update}
      - {name: invoice, call: invoice, effect: "invoice/${body.id}"}
`
	lines := strings.SplitAfter(steps, "\n")
	_, err = config.Parse("shop.yaml", []byte(strings.Replace(sampled, steps, lines[1]+lines[0], 1)), options(false))
	if want := `routes.sales.steps[0].call: call invoice reads the receipt of step "order", and no step before this one is named so: there is none before this one`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
	if _, err = config.Parse("shop.yaml", []byte(strings.Replace(sampled, steps, lines[1], 1)), options(false)); err != nil {
		t.Errorf("without that step: %v", err)
	}
}
