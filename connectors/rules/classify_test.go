package rules

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// own are rules for a platform that says most things with status 200.
const own = `[
	{"name": "locked month", "status": 200, "body": {"$.s": false, "$.d[*]": {"contains": "Sudah Ditutup"}}, "kind": "PERIOD_CLOSED", "reason": "the month is closed"},
	{"name": "fault", "status": "2xx", "body": {"$.Fault": {"exists": true}}, "kind": "VALIDATION", "code": "$.Fault.Error[0].code", "field": "$.Fault.Error[0].element"},
	{"name": "too fast", "status": ["429", 503], "headers": {"x-limit": {"matches": "^[0-9]+/s$"}}, "kind": "RATE_LIMITED", "retry_after": "$.wait", "code": "X-Code"},
	{"name": "month quota", "status": 429, "headers": {"X-Quota": ["month", "day"]}, "kind": "QUOTA", "retry_after": "X-Reset"},
	{"name": "unsigned", "status": 403, "headers": {"X-Signed": {"exists": false}}, "kind": "AUTH_EXPIRED"},
	{"name": "big number", "status": 400, "body": {"$.id": 9007199254740993}, "kind": "REFERENCE_GONE"},
	{"name": "known", "status": 409, "body": {"$.errors[?@.level == 'error'].code": {"one_of": ["exists", 6240]}}, "kind": "DUPLICATE", "receipt": "$.existing.id"},
	{"name": "nothing", "status": 207, "body": {"$.results": {"exists": false}}, "kind": "PARTIAL"},
	{"name": "taken", "status": [200, 207], "body": {"$.s": true}, "kind": "DELIVERED", "receipt": "$.r.id"}
]`

var shippedForTests = func() *Shipped {
	s, err := Ship([]byte("[{name: ok, status: 2xx, kind: DELIVERED}, {name: trouble, status: 5xx, kind: TRANSIENT}, {name: none, status: 429, kind: RATE_LIMITED}]"), []byte("idempotent: []"))
	if err != nil {
		panic(err)
	}
	return s
}()

func compiled(t testing.TB, rules string) *Set {
	t.Helper()
	s, err := Compile([]byte(rules), shippedForTests, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSet_Classify(t *testing.T) {
	const (
		validation = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
		closed     = raffsyncv1.OutcomeKind_OUTCOME_KIND_PERIOD_CLOSED
		limited    = raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED
		quota      = raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA
		expired    = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_EXPIRED
		gone       = raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE
		duplicate  = raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE
		partial    = raffsyncv1.OutcomeKind_OUTCOME_KIND_PARTIAL
	)
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	long := strings.Repeat(" ", MaxBody)
	set := compiled(t, own)
	for _, test := range []struct {
		name   string
		answer Answer
		want   Verdict
	}{
		{"a fault inside 200", Answer{Status: 200, Body: []byte(`{"Fault": {"Error": [{"code": "610", "element": "lines[0].item"}]}}`)}, Verdict{Kind: validation, Rule: "fault", Code: "610", Field: "lines[0].item"}},
		{"a fault that is null", Answer{Status: 200, Body: []byte(`{"Fault": null, "id": 4}`)}, Verdict{Kind: delivered, Rule: "ok", Receipt: "4"}},
		{"all conditions of a rule", Answer{Status: 200, Body: []byte(`{"s": false, "d": ["x", "Periode SUDAH ditutup"]}`)}, Verdict{Kind: closed, Rule: "locked month", Reason: "the month is closed", Field: "d"}},
		{"one condition of a rule", Answer{Status: 200, Body: []byte(`{"s": false, "d": ["x"]}`)}, Verdict{Kind: delivered, Rule: "ok"}},
		{"false is not the text", Answer{Status: 200, Body: []byte(`{"s": 0, "d": ["sudah ditutup"]}`)}, Verdict{Kind: delivered, Rule: "ok"}},
		{"a success by its mark", Answer{Status: 200, Body: []byte(`{"s": true, "r": {"id": 4711}}`)}, Verdict{Kind: delivered, Rule: "taken", Receipt: "4711"}},

		{"a header, and the wait in the body", Answer{Status: 503, Header: header("X-Limit", "a", "X-Limit", "8/s", "X-Code", "slow\r\ndown"), Body: []byte(`{"wait": 2.5}`)}, Verdict{Kind: limited, Rule: "too fast", RetryAfter: "2.5", Code: "slowdown"}},
		{"a header that does not match", Answer{Status: 503, Header: header("X-Limit", "8/m")}, Verdict{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "trouble"}},
		{"a header of a list, and the wait in another", Answer{Status: 429, Header: header("X-Quota", "day", "X-Reset", "60")}, Verdict{Kind: quota, Rule: "month quota", RetryAfter: "60"}},
		{"a header that is absent", Answer{Status: 403}, Verdict{Kind: expired, Rule: "unsigned"}},
		{"a header that must be absent", Answer{Status: 403, Header: header("X-Signed", "")}, Verdict{Kind: unclassified, Rule: "status 403"}},

		{"numbers beyond 2^53", Answer{Status: 400, Body: []byte(`{"id": 9007199254740993}`)}, Verdict{Kind: gone, Rule: "big number"}},
		{"their neighbours", Answer{Status: 400, Body: []byte(`{"id": 9007199254740992}`)}, Verdict{Kind: unclassified, Rule: "status 400"}},
		{"a filter, and a receipt of what is no success", Answer{Status: 409, Body: []byte(`{"errors": [{"level": "warning", "code": "x"}, {"level": "error", "code": 6240}], "existing": {"id": "A-1"}}`)}, Verdict{Kind: duplicate, Rule: "known", Code: "x", Receipt: "A-1"}},

		{"of a body that is cut, what came", Answer{Status: 200, Body: []byte(`{"Fault": {"Error": [{"code": "610"}]}, "echo": "` + long), Cut: true}, Verdict{Kind: validation, Rule: "fault", Code: "610"}},
		{"of a body that is too long, what is looked at", Answer{Status: 200, Body: []byte(`{"Fault": {"Error": [{"code": "610"}]}, "echo": "` + long + `"}`)}, Verdict{Kind: validation, Rule: "fault", Code: "610"}},
		{"a long success", Answer{Status: 200, Body: []byte(`{"s": true, "r": {"id": "B"}, "echo": "` + long), Cut: true}, Verdict{Kind: delivered, Rule: "taken", Receipt: "B"}},
		{"of a number that is cut, nothing", Answer{Status: 400, Body: []byte(`{"code": "c", "id": 9007199254740993`), Cut: true}, Verdict{Kind: unclassified, Rule: "status 400", Code: "c"}},
		{"that something is not there", Answer{Status: 207, Body: []byte(`{}`)}, Verdict{Kind: partial, Rule: "nothing"}},
		{"that is not proven of what is cut", Answer{Status: 207, Body: []byte(`{"a": "` + long), Cut: true}, Verdict{Kind: delivered, Rule: "ok"}},

		{"200 and a body that broke off", Answer{Status: 200, Body: []byte(`{"s": `), Cut: true}, Verdict{Kind: unknown, Rule: "answer broke off"}},
		{"201 and no body that came", Answer{Status: 201, Cut: true}, Verdict{Kind: unknown, Rule: "answer broke off"}},
		{"206, which is success whatever comes", Answer{Status: 503, Cut: true}, Verdict{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "trouble"}},
		{"broken off behind what decides", Answer{Status: 200, Body: []byte(`{"Fault": {"Error": [{"code": "610"}]}, "ech`), Cut: true}, Verdict{Kind: validation, Rule: "fault", Code: "610"}},

		{"not UTF-8", Answer{Status: 418, Body: []byte("{\"code\": \"a\xff\xfeb\", \"field\": \"\\ud800x\"}")}, Verdict{Kind: unclassified, Rule: "status 418", Code: "a\uFFFD\uFFFDb", Field: "\uFFFDx"}},
		{"a header that is not UTF-8", Answer{Status: 503, Header: header("X-Limit", "8/s", "X-Code", "\xff\x00\xc3(")}, Verdict{Kind: limited, Rule: "too fast", Code: "\uFFFD\uFFFD("}},
		{"no JSON", Answer{Status: 200, Body: []byte(`<Fault/>`)}, Verdict{Kind: delivered, Rule: "ok"}},
		{"nested beyond reason", Answer{Status: 418, Body: []byte(`{"code": "c", "a": ` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`)}, Verdict{Kind: unclassified, Rule: "status 418"}},
		{"no HTTP status", Answer{Status: -1}, Verdict{Kind: unclassified, Rule: "status -1"}},
	} {
		if test.want.Reason == "" {
			test.want.Reason = map[string]string{
				"answer broke off": "the answer broke off before what a rule looks for in it",
			}[test.want.Rule]
			if test.want.Kind == unclassified {
				test.want.Reason = "no rule knows this answer"
			} else if test.want.Reason == "" {
				test.want.Reason = test.want.Rule
			}
		}
		if diff := cmp.Diff(test.want, set.Classify(test.answer)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// Whatever comes makes a verdict that can be stored and shown.
func FuzzSet_Classify(f *testing.F) {
	set := compiled(f, own)
	bare, err := Compile([]byte(`[{"name": "all", "body": {"$..*": {"matches": "(a|b)*c", "contains": "x"}}, "kind": "STALE", "code": "$..*", "field": "X-A", "receipt": "$..['id','a']", "retry_after": "$"}]`), nil, true)
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{
		`{"Fault": {"Error": [{"code": "610"}]}}`, `{"s": false, "d": ["ditutup"]}`, `{"error": {"code": "x", "field": ["a", 0]}}`, `[{"code": 7}]`, `{"id": 17}`,
		`{"type": "https://example.com/errors/a%2", "title": "t"}`, `{"detail": [{"loc": ["a", 0, [1]]}]}`, `{"errors": {"sku": ["is unknown"]}}`,
		`{"code": "\u0000\ud800"}`, "{\"a\": \"\xff\"}", `{`, ``, `null`, `-`, strings.Repeat(`{"error":`, 200), strings.Repeat("[", 70),
	} {
		f.Add(200, "X-Code", "8/s", []byte(body), false)
		f.Add(422, "X-A", "\xff\x00", []byte(body), true)
	}
	f.Fuzz(func(t *testing.T, status int, name, value string, body []byte, cut bool) {
		h := http.Header{http.CanonicalHeaderKey(name): {value, ""}, "X-A": {value}, "X-Limit": {"1/s"}}
		before := string(body)
		for _, set := range []*Set{set, bare} {
			v := set.Classify(Answer{Status: status, Header: h, Body: body, Cut: cut})
			if _, known := raffsyncv1.OutcomeKind_name[int32(v.Kind)]; !known || v.Kind == 0 || v.Rule == "" || v.Reason == "" {
				t.Errorf("%+v", v)
			}
			for part, most := range map[string]int{v.Rule: maxName, v.Code: 4 * maxCode, v.Field: 4 * maxCode, v.Receipt: maxReceipt, v.RetryAfter: 4 * maxCode} {
				if len(part) > most || !utf8.ValidString(part) || strings.ContainsFunc(part, unicode.IsControl) {
					t.Errorf("%q is not one line of text of at most %d bytes", part, most)
				}
			}
			if utf8.RuneCountInString(v.Code) > maxCode || utf8.RuneCountInString(v.Field) > maxCode {
				t.Errorf("%+v", v)
			}
		}
		if string(body) != before {
			t.Error("the body was changed")
		}
	})
}

// A million values of one header cost a look at each, once a rule.
func TestSet_Classify_ManyHeaders(t *testing.T) {
	h := http.Header{}
	for i := range 1_000_000 {
		h["X-Limit"] = append(h["X-Limit"], fmt.Sprint(i))
	}
	if v := compiled(t, own).Classify(Answer{Status: 429, Header: h}); v.Rule != "none" {
		t.Errorf("%+v", v)
	}
}
