package mapping

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestVersion(t *testing.T) {
	event := &Event{ID: "e1", OccurredAt: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	const body = `{"n": 9007199254740993, "f": 1.5, "s": "2026-11-23T10:00:00+07:00", "nil": null, "list": [1]}`
	for expression, want := range map[string]any{
		`body.n`: int64(9007199254740993), `body.s`: "2026-11-23T10:00:00+07:00",
		`timestamp(body.s)`: time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC),
		`event.occurred_at`: event.OccurredAt,
		`body.absent`:       nil,
		`body.list[7]`:      nil,
		`body.nil`:          nil,
		`has(body.absent) ? body.absent : body.n+1`: int64(9007199254740994),
		`body.f`:                              errors.New("it gave double"),
		`body.list`:                           errors.New("it gave list"),
		`body.n > 1 ? dyn(true) : dyn(1)`:     errors.New("it gave bool"),
		`timestamp(body.n > 1 ? "soon" : "")`: errors.New("cannot be evaluated"),
	} {
		v, err := CompileVersion(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		got, err := v.Of(t.Context(), event, NewBody([]byte(body)))
		if failure, ok := want.(error); ok {
			if err == nil || !strings.Contains(err.Error(), failure.Error()) || strings.Contains(err.Error(), "soon") {
				t.Errorf("%s: %v, %v; want an error with %q", expression, got, err, failure)
			}
			continue
		}
		if at, ok := got.(time.Time); ok {
			got = at.UTC()
		}
		if err != nil || got != want {
			t.Errorf("%s: %#v, %v; want %#v", expression, got, err, want)
		}
	}
	for expression, want := range map[string]string{
		`body.n > 1`: "this gives bool", `1.5`: "this gives double", `event`: "this gives event", `event.tpye`: "undefined field", `body.`: "Syntax error",
	} {
		var syntax *SyntaxError
		if _, err := CompileVersion(expression); !errors.As(err, &syntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", expression, err, want)
		}
	}
}
