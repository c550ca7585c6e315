package recipe_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/recipe"
)

// asked builds a recipe of one call with this find, and gives what it finds in an answer.
func asked(t *testing.T, find string, status int, body string, change ...func(*connectors.Step)) (connectors.Reconciliation, *http.Request, string) {
	t.Helper()
	var got *http.Request
	var sent string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read, _ := io.ReadAll(r.Body)
		got, sent = r, string(read)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	d := build(t, map[string]any{"recipe": readYAML(t, []byte("url: "+server.URL+"\nidempotency_key: {header: X-Key}\ncalls: {a: {map: {a: 1}, receipt: {id: $.id}, find: "+find+"}}"))})
	r, err := d.Prepare(plainStep(change...))
	if err != nil {
		t.Fatal(err)
	}
	return d.(connectors.Reconciler).Reconcile(t.Context(), r), got, sent
}

func TestReconcile(t *testing.T) {
	const byPath = `{url: "/x/${event.references.order}", absent: {status: 404}}`
	const bySearch = `{url: /x, query: {q: "${event.references.order}"}, items: "$.data[*]", where: {$.ref: "${event.references.order}"}}`
	const firstPage = `{url: /x, query: {q: "${event.references.order}"}, items: "$.data[*]", whole: {body: {$.more: false}}, where: {$.ref: "${event.references.order}"}}`
	for _, test := range []struct {
		name, find string
		status     int
		body       string
		want       connectors.Finding
		id         string
	}{
		{"there", byPath, 200, `{"id": 7}`, connectors.Found, "7"},
		{"there, without a word", byPath, 204, ``, connectors.Found, ""},
		{"not there", byPath, 404, ``, connectors.Absent, ""},
		{"gone is not what absent says", byPath, 410, ``, connectors.CannotTell, ""},
		{"trouble", byPath, 503, `{"id": 7}`, connectors.CannotTell, ""},
		{"one of the list", bySearch, 200, `{"data": [{"id": 6, "ref": "10421"}, {"id": 7, "ref": "1042"}]}`, connectors.Found, "7"},
		{"a number that is written so", bySearch, 200, `{"data": [{"id": 7, "ref": 1042}]}`, connectors.Found, "7"},
		{"none of the list", bySearch, 200, `{"data": [{"id": 6, "ref": "1042 "}]}`, connectors.Absent, ""},
		{"an empty list", bySearch, 200, `{"data": []}`, connectors.Absent, ""},
		{"no list at all", bySearch, 200, `{"error": "maintenance"}`, connectors.CannotTell, ""},
		{"what is no list", bySearch, 200, `{"data": {"id": 7, "ref": "1042"}}`, connectors.CannotTell, ""},
		{"no JSON", bySearch, 200, `<html>`, connectors.CannotTell, ""},
		{"404 where nothing says what that means", bySearch, 404, ``, connectors.CannotTell, ""},
		{"a list too long to be whole", bySearch, 200, `{"data": [` + strings.Repeat(`{"id": 6, "ref": "x"},`, 20_000) + `{}]}`, connectors.CannotTell, ""},
		{"on the first page", firstPage, 200, `{"more": true, "data": [{"id": 7, "ref": "1042"}]}`, connectors.Found, "7"},
		{"not on the first page", firstPage, 200, `{"more": true, "data": [{"id": 6, "ref": "1043"}]}`, connectors.CannotTell, ""},
		{"not on the only page", firstPage, 200, `{"more": false, "data": [{"id": 6, "ref": "1043"}]}`, connectors.Absent, ""},
		{"about something else", `{url: "/x", absent: {status: 404}, where: {$.ref: "${event.references.order}"}}`, 200, `{"id": 6, "ref": "1043"}`, connectors.CannotTell, ""},
	} {
		r, _, _ := asked(t, test.find, test.status, test.body)
		if r.Finding != test.want || r.ExternalID != test.id || r.Reason == "" || r.Rule == "" {
			t.Errorf("%s: %d, %+v", test.name, r.Finding, r.Outcome)
		}
	}
}

// A question by POST carries no idempotency key: that would make it the request.
func TestReconcile_ByGraphQL(t *testing.T) {
	r, got, body := asked(t, `{method: POST, graphql: "query q($r: String) { x(r: $r) { id } }", map: {r: "${event.references.order}"}, items: "$.data.x[*]", where: {$.r: "${event.references.order}"}}`, 200, `{"data": {"x": [{"r": "1042", "id": "g"}]}}`)
	if r.Finding != connectors.Found || r.ExternalID != "g" || got.Header.Get("X-Key") != "" || body != `{"query":"query q($r: String) { x(r: $r) { id } }","variables":{"r":"1042"}}` {
		t.Errorf("%+v, %v, %s", r, got.Header, body)
	}
}

// What is repeatable is made again without asking; what can't be asked about is left to a
// person.
func TestReconcile_Repeatable(t *testing.T) {
	d := build(t, calls(t, `
  put: {method: PUT, url: "/x/${event.references.order}", map: {a: 1}, repeatable: true}
  post: {map: {a: 1}, find: {url: "/x/${event.references.order}", absent: {status: 404}}, update: {method: PUT, repeatable: true}}`))
	for call, change := range map[string]func(*connectors.Step){
		"put":  func(*connectors.Step) {},
		"post": func(s *connectors.Step) { s.Existing = &connectors.Receipt{ExternalID: "7"} },
	} {
		plan, err := d.(connectors.Planner).Plan(connectors.StepConfig{Call: call})
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Prepare(plainStep(change, func(s *connectors.Step) { s.Plan = plan }))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.(connectors.Reconciler).Reconcile(t.Context(), r); got.Finding != connectors.Absent || got.Rule != "repeatable" {
			t.Errorf("%s: %+v", call, got)
		}
	}
	if _, can := build(t, calls(t, `  put: {map: {a: 1}, repeatable: true}`)).(connectors.Reconciler); can {
		t.Error("a platform that nobody can ask says that it can be asked")
	}
}

func TestFactory_RefusesQuestionsThatProveNothing(t *testing.T) {
	for call, want := range map[string]string{
		`{map: {a: 1}, find: {url: "/x/${event.id}"}}`:                                                                   "says nothing of what proves absence",
		`{map: {a: 1}, find: {url: "/x", absent: {status: 404}}}`:                                                        "asks for nothing in particular",
		`{map: {a: 1}, find: {url: "/x/${event.id}", items: "$.x", where: {$.a: "${event.id}"}}}`:                        "ends with [*]",
		`{map: {a: 1}, find: {url: "/x/${event.id}", items: "$.x[*]"}}`:                                                  "is missing; expected what tells the one thing",
		`{map: {a: 1}, find: {url: "/x/${lookup('a', event.id)}", absent: {status: 404}}}`:                               "looks something up",
		`{map: {a: 1}, find: {url: "/x/${event.id}", absent: {status: 404, kind: X}}}`:                                   "there is no such field",
		`{map: {a: 1}, find: {url: "/x/${event.id}", absent: {status: 4}}}`:                                              "find.absent.status",
		`{map: {a: 1}, find: {url: "/x/${event.id}", absent: {status: 404}}, update: {method: PUT}}`:                     "up to date",
		`{map: {a: 1}, find: {url: "/x/${event.id}", absent: {status: 404}, whole: {status: 200}}}`:                      "whole: is of a list",
		`{map: {a: 1}, find: {url: "/x/${event.id}", items: "$.x[*]", where: {$.a: "${event.id}"}, whole: {status: 4}}}`: "find.whole.status",
		`{method: GET, url: /x, find: {url: "/x/${event.id}", absent: {status: 404}}}`:                                   "takes neither find nor update",
		`{map: {a: 1}, find: {url: "/x/${event.id}", items: "$..a..b[*]", where: {$.a: "${event.id}"}}}`:                 "holds .. twice",
		`{map: {a: 1}, find: {url: "/x/${event.id}", found: {status: 200}, absent: {status: 200, body: {$.a: null}}}}`:   "find.absent",
	} {
		_, err := recipe.Factory(options(t, calls(t, "  a: "+call)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// Ids above 2^53 and fields that are too long come back as they may be kept.
func TestSend_Receipt(t *testing.T) {
	body, _ := json.Marshal(map[string]any{"r": map[string]any{"id": json.Number("9007199254740993"), "no": strings.Repeat("é", 150), "slug": "a/../b?c", "list": []int{1, 2}}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Trace", "t-1")
		_, _ = w.Write(body)
	}))
	defer server.Close()
	d := build(t, map[string]any{"recipe": readYAML(t, []byte("url: "+server.URL+`
calls:
  a:
    body: none
    receipt:
      id: $.r.id
      url: "https://app.example/x/${body.r.slug}/${receipt.id}"
      fields: {no: $.r.no, none: $.r.none, trace: "${headers['x-trace']}", twice: "${body.r.id} ${body.r.id}", list: $.r.list}`))})
	r, err := d.Prepare(plainStep())
	if err != nil {
		t.Fatal(err)
	}
	o := d.Send(t.Context(), r)
	if o.ExternalID != "9007199254740993" || o.URL != "https://app.example/x/a%2F..%2Fb%3Fc/9007199254740993" {
		t.Errorf("%+v", o)
	}
	if f := o.Fields; len(f["no"]) != 200 || f["trace"] != "t-1" || f["twice"] != "9007199254740993 9007199254740993" || f["list"] != "1.2" || len(f) != 4 {
		t.Errorf("%+v", f)
	}
}
