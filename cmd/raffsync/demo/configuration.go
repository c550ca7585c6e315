package demo

import (
	"encoding/json"
	"strings"
	"text/template"
)

// Tenant and Source are the names that the demo's configuration uses; the shop's
// key is one for them.
const (
	Tenant = "kopi"
	Source = "shop"
)

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
  stock:                                     # refuses SKUs that it does not know
    webhook:
      url: {{quote .At.stock.URL}}
      secret: {{quote (print "file:" .At.stock.SecretFile)}}

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
`))
