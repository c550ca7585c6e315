package graph

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	h := openHouse(t, func(c *Config) { c.Development = false })
	many := func(n int, format string) string {
		var s strings.Builder
		for i := range n {
			s.WriteString(strings.ReplaceAll(format, "#", fmt.Sprint(i)))
		}
		return s.String()
	}
	// Each fragment names the next one twice: 2^60 fields, once they are written out.
	bomb := `{ viewer { ...f0 } }` + many(60, ` fragment f# on Viewer { ...g# ...g# }`) + many(60, ` fragment g# on Viewer { name }`)
	for i := range 59 {
		bomb = strings.Replace(bomb, fmt.Sprintf(`fragment g%d on Viewer { name }`, i), fmt.Sprintf(`fragment g%d on Viewer { ...f%d }`, i, i+1), 1)
	}
	deep := `{ events(first: 1) { nodes { deliveries { event { deliveries { event { deliveries { event { deliveries { event { id } } } } } } } } } } }`
	for name, c := range map[string]struct{ query, code string }{
		"Fits":                {`{ events(first: 100) { nodes { eventId deliveries { state destination { name } attempts { kind } } } } }`, ""},
		"DepthFits":           {`{ events(first: 1) { nodes { deliveries { event { deliveries { event { deliveries { event { id } } } } } } } } }`, ""},
		"Depth":               {deep, codeDepth},
		"DepthInFragments":    {`{ events(first: 1) { ...a } } fragment a on EventConnection { nodes { deliveries { event { ...b } } } } fragment b on Event { deliveries { event { deliveries { event { deliveries { event { id } } } } } } }`, codeDepth},
		"AliasesFit":          {`{ viewer { ` + many(30, "a#: name ") + `} }`, ""},
		"Aliases":             {`{ viewer { ` + many(31, "a#: name ") + `} }`, codeAliases},
		"AliasesOfFragments":  {`{ viewer { ...a ...a ...a ...a } } fragment a on Viewer { ` + many(8, "a#: name ") + `}`, codeAliases},
		"FragmentBomb":        {bomb, codeSize},
		"Tokens":              {`{ viewer { ` + many(maxTokens, "name ") + `} }`, "GRAPHQL_PARSE_FAILED"},
		"Complexity":          {`{ events(first: 100) { nodes { deliveries { attempts(first: 100) { kind } event { deliveries { state } } } } } }`, "COMPLEXITY_LIMIT_EXCEEDED"},
		"PayloadsAreDear":     {`{ events(first: 100) { nodes { payload { text } deliveries { event { payload { text } } } } } }`, "COMPLEXITY_LIMIT_EXCEEDED"},
		"FirstIsTooLarge":     {`{ events(first: 101) { nodes { id } } }`, codeBadInput},
		"FirstIsHuge":         {`{ events(first: 2000000000) { nodes { id } } }`, "COMPLEXITY_LIMIT_EXCEEDED"},
		"FirstIsOverflowing":  {`{ events(first: 9999999999999999999999) { nodes { id } } }`, "GRAPHQL_VALIDATION_FAILED"},
		"FirstIsNegative":     {`{ events(first: -1) { nodes { id } } }`, codeBadInput},
		"NestedFirst":         {`{ events(first: 1) { nodes { timeline(first: 0) { nodes { id } } } } }`, ""},
		"Cursor":              {`{ events(first: 1, after: "nonsense") { nodes { id } } }`, codeBadInput},
		"SearchText":          {`{ search(text: "` + strings.Repeat("x", maxSearchText+1) + `") { nodes { __typename } } }`, codeBadInput},
		"Introspection":       {`{ __schema { types { name } } }`, codeForbidden},
		"IntrospectionOfOne":  {`{ viewer { name } ...a } fragment a on Query { __type(name: "Event") { name } }`, codeForbidden},
		"Typename":            {`{ __typename viewer { __typename } }`, ""},
		"NoSuggestions":       {`{ viewr { name } }`, "GRAPHQL_VALIDATION_FAILED"},
		"NoSuggestionOfEnums": {`{ deliveries(filter: {state: DELIVERD}) { nodes { id } } }`, "GRAPHQL_VALIDATION_FAILED"},
		"Time":                {`{ events(filter: {acceptedAfter: "yesterday"}) { nodes { id } } }`, codeBadInput},
		"Subscription":        {`subscription { changes { cursor } }`, codeBadInput},
		"Batch":               {"", codeBadInput},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.ask(t, "kopi", c.query, nil)
			if a.code() != c.code {
				t.Errorf("code %q, want %q: %+v", a.code(), c.code, a.Errors)
			}
			for _, e := range a.Errors {
				if strings.Contains(e.Message, "Did you mean") {
					t.Errorf("suggests names of the schema: %s", e.Message)
				}
			}
		})
	}
	// One more event, so that the nested page is asked for.
	h.publish(t, "kopi", 1)
	if a := h.ask(t, "kopi", `{ events(first: 1) { nodes { timeline(first: 0) { nodes { id } } } } }`, nil); a.code() != codeBadInput {
		t.Errorf("a nested page of none: %+v", a)
	}
}

func TestFront_RefusesRequests(t *testing.T) {
	h := openHouse(t, nil)
	fine := []byte(`{"query": "{ viewer { name } }"}`)
	basic := func(r *http.Request) { r.SetBasicAuth("op-kopi", "secret-kopi") }
	for name, c := range map[string]struct {
		body   []byte
		change func(*http.Request)
		status int
		code   string
	}{
		"Fine":             {fine, basic, 200, ""},
		"NoCredential":     {fine, func(*http.Request) {}, 401, codeUnauthenticated},
		"WrongSecret":      {fine, func(r *http.Request) { r.SetBasicAuth("op-kopi", "secret-teh") }, 401, codeUnauthenticated},
		"UnknownOperator":  {fine, func(r *http.Request) { r.SetBasicAuth("nobody", "secret-teh") }, 401, codeUnauthenticated},
		"Bearer":           {fine, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401, codeUnauthenticated},
		"TooLarge":         {append(bytes.Repeat([]byte(" "), maxBody), fine...), basic, 413, codeTooLarge},
		"LargestFits":      {append(bytes.Repeat([]byte(" "), maxBody-len(fine)), fine...), basic, 200, ""},
		"NotJSON":          {[]byte(`query { viewer { name } }`), basic, 400, codeBadInput},
		"Batch":            {[]byte(`[{"query": "{ viewer { name } }"}]`), basic, 400, codeBadInput},
		"TwoObjects":       {append(fine, fine...), basic, 400, codeBadInput},
		"NoQuery":          {[]byte(`{"variables": {}}`), basic, 400, codeBadInput},
		"Get":              {nil, func(r *http.Request) { basic(r); r.Method = http.MethodGet; r.URL.RawQuery = "query={viewer{name}}" }, 405, codeBadInput},
		"GetOfAMutation":   {nil, func(r *http.Request) { basic(r); r.Method = http.MethodGet; r.URL.RawQuery = "query=mutation{x}" }, 405, codeBadInput},
		"FormFromAPage":    {fine, func(r *http.Request) { basic(r); r.Header.Set("Content-Type", "text/plain") }, 415, codeBadInput},
		"AnotherPage":      {fine, func(r *http.Request) { basic(r); r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, codeForbidden},
		"AnotherOrigin":    {fine, func(r *http.Request) { basic(r); r.Header.Set("Origin", "http://evil.example") }, 403, codeForbidden},
		"OwnPage":          {fine, func(r *http.Request) { basic(r); r.Header.Set("Sec-Fetch-Site", "same-origin") }, 200, ""},
		"ManyVariables":    {[]byte(`{"query": "query ($a: Int!) { events(first: $a) { nodes { id } } }", "variables": {"a": 1, "b": 2}}`), basic, 200, ""},
		"VariableOfNoType": {[]byte(`{"query": "query ($a: Int!) { events(first: $a) { nodes { id } } }", "variables": {"a": "x"}}`), basic, 422, "GRAPHQL_VALIDATION_FAILED"},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.post(t, c.body, c.change)
			if a.status != c.status || a.code() != c.code {
				t.Errorf("status %d code %q, want %d %q: %+v", a.status, a.code(), c.status, c.code, a.Errors)
			}
		})
	}
	if log := h.log.String(); strings.Contains(log, "secret-") || strings.Contains(log, "viewer") {
		t.Errorf("secrets or requests are in the log: %s", log)
	}
}

func TestFront_HeadersAndPages(t *testing.T) {
	h := openHouse(t, nil)
	page := func(path string, basic bool) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if basic {
			r.SetBasicAuth("op-kopi", "secret-kopi")
		}
		response, err := h.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response
	}
	without := page("/", false)
	if without.StatusCode != 401 || !strings.HasPrefix(without.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("without a credential: %d %v; want 401 and a challenge, for the browser to ask", without.StatusCode, without.Header)
	}
	for _, path := range []string{"/", "/page.js", "/page.css"} {
		r := page(path, true)
		policy := r.Header.Get("Content-Security-Policy")
		if r.StatusCode != 200 || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "http") || r.Header.Get("X-Content-Type-Options") != "nosniff" ||
			r.Header.Get("X-Frame-Options") != "DENY" || r.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %d %v", path, r.StatusCode, r.Header)
		}
	}
	outside := openHouse(t, func(c *Config) { c.Development = false })
	h = outside
	if r := page("/", true); r.StatusCode != 404 {
		t.Errorf("outside development the page answers %d, want 404", r.StatusCode)
	}
}

// What goes wrong inside is logged, and the caller gets a reference and no more.
func TestErrors_NeverShowInternals(t *testing.T) {
	h := openHouse(t, nil)
	h.exec(t, `ALTER TABLE tallies RENAME TO tallies_gone`)
	a := h.ask(t, "kopi", `{ totals { accepted } }`, nil)
	if a.code() != codeInternal || strings.Contains(fmt.Sprint(a.Errors), "tallies") || strings.Contains(fmt.Sprint(a.Errors), "SQL") {
		t.Fatalf("errors %+v", a.Errors)
	}
	reference, _ := a.Errors[0].Extensions["reference"].(string)
	if log := h.log.String(); reference == "" || !strings.Contains(log, reference) || !strings.Contains(log, "tallies") {
		t.Errorf("the log does not tell more under %q: %s", reference, log)
	}
}
