package demo

import (
	"embed"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"text/template"
)

// Tenant and Source are the names that the demo's configuration uses; the shop's
// key is one for them.
const (
	Tenant = "kopi"
	Source = "shop"
)

// Table is the mapping table in which the strict platform's items are looked up, Strict its
// destination. Missing is what it lacks, and Item what the platform calls that: the first
// screen offers to say so.
const (
	Strict  = "stock"
	Table   = "sku"
	Missing = "LATTE-OAT"
	Item    = "ITM-42"
)

// Items are those that the strict platform knows by the shop's names.
func Items() (skus []string) {
	for _, p := range menu {
		skus = append(skus, p.sku)
		if p.cup != "" && !slices.Contains(skus, p.cup) {
			skus = append(skus, p.cup)
		}
	}
	return skus
}

// Configuration is the demo's configuration file: the shop's events go to the
// platforms at the endpoints.
//
// The failing platform has a shorter patience than the defaults, so that an outage
// of 15 s can be watched from beginning to end.
func Configuration(endpoints []Endpoint) (string, error) {
	byName := map[string]Endpoint{}
	for _, e := range endpoints {
		byName[e.Name] = e
	}
	var text strings.Builder
	err := configuration.Execute(&text, map[string]any{"Tenant": Tenant, "Source": Source, "At": byName})
	return text.String(), err
}

//go:embed samples
var samples embed.FS

// Samples are what the shop's tills send, one of each kind that is routed, to try the
// configuration with.
func Samples() fs.FS {
	inside, err := fs.Sub(samples, "samples")
	if err != nil {
		panic(err) // only of a name that is no path
	}
	return inside
}

// A text in JSON is one in YAML.
var quoting = template.FuncMap{"quote": func(text string) (string, error) {
	quoted, err := json.Marshal(text)
	return string(quoted), err
}}

var configuration = template.Must(template.New("demo").Funcs(quoting).Option("missingkey=error").Parse(
	`# The configuration of ` + "`raffsync demo`" + `: a coffee shop with three outlets, whose events
# go to three simulated platforms.
tenant: {{.Tenant}}

sources:
  {{.Source}}: {}

destinations:
  books:                                     # accounting; healthy
    webhook:
      url: {{quote .At.books.URL}}
      secret: {{quote (print "file:" .At.books.SecretFile)}}
  webstore:                                  # fails in every way, on purpose
    webhook:
      url: {{quote .At.webstore.URL}}
      secret: {{quote (print "file:" .At.webstore.SecretFile)}}
    timeout: 5s
    breaker: {window: 6s, min_requests: 5, failure_ratio: 0.5, open_for: 5s, probes: 2}
  stock:                                     # strict: wants to know each item by its own number
    recipe:
      url: {{quote .At.stock.URL}}
      settings: {secret: {doc: The secret of the platform, secret: true}}
      headers:
        Authorization: "Bearer ${settings.secret}"
        Ce-Id: "${event.id}"
        Ce-Source: "/{{.Tenant}}/{{.Source}}"
        Ce-Type: "${event.type}"
        Ce-Subject: "${event.ordering_key}"
      idempotent: true
      idempotency_key: {header: Idempotency-Key}
      calls:
        record:
          map:
            number: "${body.number}"
            outlet: "${body.outlet}"
            sku: "${lookup('sku', body.sku)}"    # of a stock move
            quantity: "${body.quantity}"
            lines:                             # of an order
              - $each: {line: "${body.lines}"}
                sku: "${lookup('sku', line.sku)}"
                quantity: "${line.quantity}"
    settings: {secret: {{quote (print "file:" .At.stock.SecretFile)}}}

routes:
  bookkeeping:
    from: [{{.Source}}]
    to: books
    types: [order.*, invoice.*]
  shelves:
    from: [{{.Source}}]
    to: webstore
    types: [order.*]
    retry: {cap: 15s, attempts: 30}
  inventory:
    from: [{{.Source}}]
    to: stock
    types: [stock.moved, order.*]
    exposure: {amount: "${body.total}", currency: "${body.currency}"}
    steps: [{name: record, call: record}]
`))
