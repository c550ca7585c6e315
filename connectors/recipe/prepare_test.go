package recipe_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/recipe"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// calls is a recipe of these calls.
func calls(t testing.TB, text string) map[string]any {
	t.Helper()
	return map[string]any{"recipe": readYAML(t, []byte("url: https://api.example.com/v1\ncalls:\n"+text))}
}

func plainStep(change ...func(*connectors.Step)) connectors.Step {
	s := connectors.Step{
		Event: &connectors.Event{
			Tenant: "kopi", Source: "till-7", ID: "1042/created", Type: "order.created", OrderingKey: "order/1042",
			References: map[string]string{"order": "1042"}, ContentType: "application/json",
			Data: []byte(`{"number": 9007199254740993, "total": 27000.50, "note": null, "paid": true, "lines": [{"sku": "A 1"}, {"sku": "B&2"}]}`),
		},
		Destination: "books", Effect: "order/1042", Attempt: 1, Key: strings.Repeat("0a1b2c3d", 8),
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func preview(t testing.TB, d connectors.Destination, s connectors.Step) connectors.Preview {
	t.Helper()
	r, err := d.Prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	return d.(connectors.Previewer).Preview(r)
}

func TestPrepare_Encodings(t *testing.T) {
	const of = `map: {number: "${body.number}", total: "${body.total}", paid: "${body.paid}", note: "${body.note}", none: "${body.nothing}", lines: [{$each: {line: "${body.lines}"}, itemNo: "${line.sku}"}]}`
	for _, test := range []struct{ name, call, body, kind string }{
		{"json", of, `{"lines":[{"itemNo":"A 1"},{"itemNo":"B&2"}],"note":null,"number":9007199254740993,"paid":true,"total":27000.50}`, "application/json"},
		{"form", "body: form, " + of, `lines%5B0%5D.itemNo=A+1&lines%5B1%5D.itemNo=B%262&number=9007199254740993&paid=true&total=27000.50`, "application/x-www-form-urlencoded"},
		{"graphql", `graphql: "mutation m($n: Int) { m(n: $n) }", map: {n: "${body.number}"}`, `{"query":"mutation m($n: Int) { m(n: $n) }","variables":{"n":9007199254740993}}`, "application/json"},
		{"graphql without variables", `graphql: "{ me }"`, `{"query":"{ me }"}`, "application/json"},
		{"none", "body: none", "", ""},
		{"another content type", `headers: {content-type: application/vnd.api+json}, map: {a: 1}`, `{"a":1}`, "application/vnd.api+json"},
	} {
		p := preview(t, build(t, calls(t, "  a: {"+test.call+"}")), plainStep())
		if string(p.Body) != test.body || p.Header.Get("Content-Type") != test.kind {
			t.Errorf("%s: %s\n%s", test.name, p.Header.Get("Content-Type"), p.Body)
		}
	}
}

// Whatever the event says, it stays in its place.
func TestPrepare_StaysInItsPlace(t *testing.T) {
	d := build(t, calls(t, `  a: {url: "/orders/${event.references.order}/x", query: {q: "${event.references.order}"}, headers: {X-Order: "${event.references.order}"}, body: none}`))
	for value, want := range map[string]string{
		"1042":               "https://api.example.com/v1/orders/1042/x?q=1042",
		"a/../b?c#d&e= f":    "https://api.example.com/v1/orders/a%2F..%2Fb%3Fc%23d&e=%20f/x?q=a%2F..%2Fb%3Fc%23d%26e%3D+f",
		"@evil.example":      "https://api.example.com/v1/orders/@evil.example/x?q=%40evil.example",
		"..":                 "url",
		".":                  "url",
		"":                   "url",
		"x\r\nX-Injected: 1": "headers.X-Order",
		"☕":                  "headers.X-Order",
		"%2e%2e":             "https://api.example.com/v1/orders/%252e%252e/x?q=%252e%252e",
	} {
		r, err := d.Prepare(plainStep(func(s *connectors.Step) { s.Event.References = map[string]string{"order": value} }))
		if err != nil {
			var refused *connectors.PrepareError
			if !errors.As(err, &refused) || refused.Field != want || refused.Kind != validation {
				t.Errorf("%q: %+v, want %s", value, err, want)
			}
			continue
		}
		if p := d.(connectors.Previewer).Preview(r); p.URL != want {
			t.Errorf("%q makes %s, want %s", value, p.URL, want)
		}
	}
}

// One pass names every look-up that found nothing, wherever it stands.
func TestPrepare_NamesEveryMiss(t *testing.T) {
	d := build(t, calls(t, `  a: {url: "/outlets/${lookup('outlet', event.type)}", map: {lines: [{$each: {line: "${body.lines}"}, item: "${lookup('sku', line.sku)}"}]}}`))
	_, err := d.Prepare(plainStep(func(s *connectors.Step) {
		s.Lookup = func(table, value string) (string, bool) { return "", false }
	}))
	var refused *connectors.PrepareError
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	var got []string
	for _, m := range refused.Missing {
		got = append(got, m.Table+" "+m.Value)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"outlet order.created", "sku A 1", "sku B&2"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPrepare_KeyForms(t *testing.T) {
	for form, want := range map[string]string{
		`{header: X-Key}`:                               strings.Repeat("0a1b2c3d", 8),
		`{header: X-Key, length: 20}`:                   "0a1b2c3d0a1b2c3d0a1b",
		`{header: X-Key, format: uuid}`:                 "0a1b2c3d-0a1b-2c3d-0a1b-2c3d0a1b2c3d",
		`{header: X-Key, length: 16, format: "quoted"}`: `"0a1b2c3d0a1b2c3d"`,
	} {
		d := build(t, map[string]any{"recipe": readYAML(t, []byte("url: https://api.example.com\nidempotency_key: "+form+"\ncalls: {a: {map: {key: \"${request.key}\"}}}"))})
		p := preview(t, d, plainStep())
		if got := p.Header.Get("X-Key"); got != want {
			t.Errorf("%s makes %s", form, got)
		}
		encoded, _ := json.Marshal(want)
		if string(p.Body) != `{"key":`+string(encoded)+`}` {
			t.Errorf("%s makes %s", form, p.Body)
		}
		if !d.Traits().Idempotent {
			t.Errorf("%s: not idempotent", form)
		}
	}
}

// What is there already is updated: by the update's own URL and with its fields added to
// the map of the call, or of the route. The content is what it would be in either case.
func TestPrepare_Update(t *testing.T) {
	d := build(t, calls(t, `
  order:
    url: /orders
    map: {number: "${event.references.order}", total: "${body.total}"}
    update: {method: PUT, url: "/orders/${existing.id}", map: {id: "${existing.id}", total: "${body.total}"}}`))
	existing := func(s *connectors.Step) { s.Existing = &connectors.Receipt{ExternalID: "77"} }
	p := preview(t, d, plainStep(existing))
	if p.Method != http.MethodPut || p.URL != "https://api.example.com/v1/orders/77" || string(p.Body) != `{"id":"77","number":"1042","total":27000.50}` {
		t.Errorf("%+v %s", p, p.Body)
	}
	plan, err := d.(connectors.Planner).Plan(connectors.StepConfig{Call: "order", Map: []byte(`{"note": "${event.id}"}`)})
	if err != nil {
		t.Fatal(err)
	}
	planned := func(s *connectors.Step) { s.Plan = plan }
	if p := preview(t, d, plainStep(planned, existing)); string(p.Body) != `{"id":"77","note":"1042/created","total":27000.50}` {
		t.Errorf("%s", p.Body)
	}
	content := func(change ...func(*connectors.Step)) string {
		r, err := d.Prepare(plainStep(change...))
		if err != nil {
			t.Fatal(err)
		}
		return string(r.(connectors.Content).Content())
	}
	if content() != content(existing) {
		t.Errorf("the content is another where the effect is there: %s, %s", content(), content(existing))
	}
	if content() == content(planned) {
		t.Error("the content is the same with another map")
	}
	bare := build(t, calls(t, `  a: {body: none}`))
	_, err = bare.Prepare(plainStep(existing))
	var refused *connectors.PrepareError
	if !errors.As(err, &refused) || refused.Code != "update" {
		t.Errorf("a call that can't update: %v", err)
	}
}

func TestPlan(t *testing.T) {
	d := build(t, calls(t, `
  order: {map: {a: 1}}
  cancel: {url: "/cancel", body: none}
  invoice: {url: "/invoices"}
  early: {map: {a: [{b: "${steps.last.receipt.id}"}]}}
  itself: {map: {a: 1}, update: {method: PUT, map: {b: "${steps.zeroth.receipt.id + steps.first.receipt.id}"}}}
  asks: {map: {a: "${has(steps.last) ? steps.last.receipt.id : steps.elsewhere.receipt.id}"}}
  me: {method: GET}`)).(connectors.Planner)
	for _, test := range []struct{ call, of, path, message string }{
		{"order", "", "", ""},
		{"cancel", "", "", ""},
		{"invoice", `{"number": "${reference(30)}"}`, "", ""},
		{"", "", "call", "is missing; expected one of asks, cancel, early, invoice, itself, me, order"},
		{"ordr", "", "call", `there is no call "ordr"`},
		{"invoice", "", "map", "the recipe has none for call invoice"},
		{"cancel", `{"a": 1}`, "map", "a map is never sent"},
		{"order", `[1]`, "map", "expected a mapping"},
		{"order", `{"lines": [{"item": "${bodi.x}"}]}`, "map.lines[0].item", "undeclared reference"},
		{"order", `{"a": "${settings.x}"}`, "map.a", "there is no setting"},
		{"order", `{"a": "${steps.zeroth.receipt.id}"}`, "", ""},
		{"order", `{"a": "${steps.first.receipt.id}"}`, "map.a", `no step before this one is named "first": those before this one are zeroth`},
		{"order", `{"a": ["${steps.last.receipt.id}"]}`, "map.a[0]", `no step before this one is named "last"`},
		{"early", "", "call", `call early reads the receipt of step "last", and no step before this one is named so: those before this one are zeroth`},
		{"itself", "", "call", `call itself reads the receipt of step "first"`},
		{"asks", "", "", ""},
	} {
		var raw json.RawMessage
		if test.of != "" {
			raw = json.RawMessage(test.of)
		}
		plan, err := d.Plan(connectors.StepConfig{Name: "first", Call: test.call, Before: []string{"zeroth"}, Later: []string{"first", "last"}, Map: raw})
		var wrong *connectors.PlanError
		switch {
		case test.message == "" && (err != nil || plan == nil):
			t.Errorf("%s %s: %v", test.call, test.of, err)
		case test.message != "" && (!errors.As(err, &wrong) || wrong.Path != test.path || !strings.Contains(wrong.Message, test.message)):
			t.Errorf("%s %s: %v", test.call, test.of, err)
		}
	}
	// A route without steps can't mean one of several.
	_, err := d.(connectors.Destination).Prepare(plainStep())
	var refused *connectors.PrepareError
	if !errors.As(err, &refused) || refused.Code != "call" {
		t.Errorf("%v", err)
	}
}

// A secret setting is in no request, wherever a recipe puts it.
func TestFactory_KeepsSecretsInHeaders(t *testing.T) {
	for _, call := range []string{
		`{map: {a: "${settings.token}"}}`, `{map: {a: ["x ${settings.token}"]}}`, `{url: "/${settings.token}", body: none}`,
		`{query: {a: "${settings.token}"}, body: none}`, `{headers: {X-A: "${settings.token + event.id}"}, body: none}`,
		`{map: {a: "${settings}"}}`, `{map: {a: "${settings['token']}"}}`,
	} {
		_, err := recipe.Factory(options(t, map[string]any{
			"recipe":   readYAML(t, []byte("url: https://api.example.com\nsettings: {token: {doc: The token, secret: true}}\ncalls: {a: "+call+"}")),
			"settings": map[string]any{"token": "env:TOKEN"},
		}))
		var wrong *recipe.Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "settings") || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// A recipe whose host comes with the authorisation, and whose token is renewed once.
func TestRecipe_AuthorisedByOAuth(t *testing.T) {
	var mux http.ServeMux
	server := httptest.NewServer(&mux)
	defer server.Close()
	tokens, sent := 0, 0
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		tokens++
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": []string{"first-access-token", "second-access-token"}[min(tokens-1, 1)], "token_type": "Bearer", "expires_in": 3600})
	})
	mux.HandleFunc("POST /v1/orders", func(w http.ResponseWriter, r *http.Request) {
		if sent++; r.Header.Get("Authorization") != "Bearer second-access-token" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error": "` + r.Header.Get("Authorization") + `"}`))
			return
		}
		_, _ = w.Write([]byte(`{"id": 5}`))
	})
	settings := map[string]any{
		"recipe": map[string]any{
			"url":   server.URL + "/v1",
			"auth":  map[string]any{"kind": "oauth2_client_credentials", "token_url": server.URL + "/token", "client_id": "shop"},
			"calls": map[string]any{"order": map[string]any{"url": "/orders", "body": "none", "repeatable": true}},
		},
		"auth": map[string]any{"client_secret": "env:TOKEN"},
	}
	o := options(t, settings)
	o.Connections = &auth.Memory{}
	d, err := recipe.Factory(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Prepare(plainStep())
	if err != nil {
		t.Fatal(err)
	}
	first := d.Send(t.Context(), r)
	if first.Kind != authExpired || strings.Contains(first.Excerpt+first.Code, "first-access-token") {
		t.Errorf("%+v", first)
	}
	second := d.Send(t.Context(), r)
	if second.Kind != delivered || second.ExternalID != "5" || tokens != 2 || sent != 2 {
		t.Errorf("%+v, %d tokens, %d sent", second, tokens, sent)
	}
	// Without a place to keep tokens nothing is sent, and a person is told.
	o.Connections = nil
	if d, err = recipe.Factory(o); err != nil {
		t.Fatal(err)
	}
	if o := d.Send(t.Context(), r); o.Kind == delivered || o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME || sent != 2 {
		t.Errorf("%+v", o)
	}
}
