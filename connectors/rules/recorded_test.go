package rules

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSet_Check(t *testing.T) {
	answers, err := ReadAnswers([]byte(`[
		{"name": "right", "status": 200, "body": {"Fault": {"Error": [{"code": 610}]}}, "expect": {"kind": "VALIDATION", "rule": "fault", "code": 610, "field": ""}},
		{"name": "a text is the body itself", "status": 200, "body": "{\"s\": true, \"r\": {\"id\": 7}}", "expect": {"kind": "DELIVERED", "receipt": "7"}},
		{"name": "wrong kind", "status": 503, "headers": {"x-limit": "8/s"}, "expect": {"kind": "TRANSIENT"}},
		{"name": "wrong code", "status": 418, "body": {"code": "a"}, "expect": {"kind": "UNCLASSIFIED", "code": "b"}}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	set := compiled(t, own)
	got := set.Check(answers)
	want := []Wrong{
		{2, "wrong kind", `comes to RATE_LIMITED by rule "too fast", expected TRANSIENT`},
		{3, "wrong code", `has code "a", expected "b"`},
	}
	if diff := cmp.Diff(want, got.Wrong); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var unreached []string
	for _, i := range got.Unreached {
		unreached = append(unreached, set.Name(i))
	}
	if names := strings.Join(unreached, ", "); names != "locked month, month quota, unsigned, big number, known, nothing" {
		t.Error(names)
	}
}

func TestShipped_Check(t *testing.T) {
	s, err := Ship([]byte(`
- {name: busy, status: 409, idempotent: true, kind: TRANSIENT}
- {name: there, status: 409, idempotent: false, kind: DUPLICATE}
- {name: never tried, status: 500, kind: TRANSIENT}
`), []byte(`
idempotent: [{name: a, status: 409, expect: {kind: TRANSIENT}}]
not_idempotent: [{name: b, status: 409, expect: {kind: TRANSIENT}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	wrong, unreached := s.Check()
	if len(wrong) != 1 || wrong[0].Name != "b" || !cmp.Equal(unreached, []string{"never tried"}) {
		t.Errorf("%v, %v", wrong, unreached)
	}
}

func TestShip_Refuses(t *testing.T) {
	for _, test := range []struct{ rules, answers, want string }{
		{"[", "{}", "shipped rules"},
		{"[]", "[", "shipped answers"},
		{"[]", "5", "shipped answers"},
		{"[{name: a, kind: NONE}]", "{}", `rules[0].kind: there is no kind "NONE"`},
		{"[]", "idempotent: [{name: a}]", `answers[0]: "status" is missing`},
	} {
		if _, err := Ship([]byte(test.rules), []byte(test.answers)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: %v, want %q", test.rules, test.answers, err, test.want)
		}
	}
}
