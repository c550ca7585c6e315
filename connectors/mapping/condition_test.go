package mapping

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var order = &Event{
	ID: "o-1", Type: "order.created", OrderingKey: "order/1042", Outlet: "mall",
	References: map[string]string{"order": "1042"},
	OccurredAt: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
}

const orderBody = `{"total":9007199254740993,"rate":1.5,"huge":18446744073709551616,"paid":true,"note":null,
	"status":"paid","items":[{"sku":"LATTE","n":2},{"sku":"OAT","n":1}]}`

func TestCondition_Matches(t *testing.T) {
	for _, test := range []struct {
		name, when, body string
		want             bool
		err              string
	}{
		{name: "event field", when: `event.type == "order.created" && event.outlet == "mall"`, want: true},
		{name: "reference", when: `event.references.order == "1042" && event.references["order"].startsWith("10")`, want: true},
		{name: "time", when: `event.occurred_at < timestamp("2026-11-24T00:00:00Z") && event.occurred_at.getHours("Asia/Jakarta") == 17`, want: true},
		{name: "has of an event's text asks for emptiness", when: `has(event.outlet) && !has(event.references.invoice)`, want: true},
		{name: "integers are exact", when: `body.total == 9007199254740993 && body.total != 9007199254740992`, want: true},
		{name: "fractions are doubles", when: `body.rate > 1 && body.rate * 2.0 == 3.0`, want: true},
		{name: "integers past 64 bits are doubles", when: `body.huge > 9223372036854775807`, want: true},
		{name: "lists", when: `body.items.exists(i, i.sku == "OAT") && size(body.items) == 2`, want: true},
		{name: "a bare field", when: `body.paid`, want: true},
		{name: "null is a value", when: `body.note == null`, want: true},
		{name: "other types are unequal", when: `body.status == 5`},
		{name: "absent field", when: `body.missing == 1`},
		{name: "absent field negated", when: `!(body.missing == 1)`},
		{name: "absent beside true", when: `body.paid || body.missing == 1`, want: true},
		{name: "absent deep", when: `body.a.b.c == 1`},
		{name: "field of a text", when: `body.status.code == 1`},
		{name: "absent reference", when: `event.references.invoice == "1"`},
		{name: "absent index", when: `body.items[7].sku == "OAT"`},
		{name: "absent index of a computed list", when: `body.items.filter(i, i.n > 5)[0].sku == "OAT"`},
		{name: "absent in a loop", when: `body.items.all(i, i.price > 0)`},
		{name: "body that is not JSON", when: `body == null`, body: "id;name\n1;x", want: true},
		{name: "field of a body that is not JSON", when: `body.total > 1`, body: "id;name"},
		{name: "two values are not JSON", when: `body == null`, body: "1 2", want: true},
		{name: "no body", when: `body == null`, body: " ", want: true},
		{name: "types that do not compare", when: `body.status > 5`, err: "types that do not go together"},
		{name: "null does not compare", when: `body.note > 5`, err: "types that do not go together"},
		{name: "division by zero", when: `1 / (body.total - body.total) == 1`, err: "division by zero"},
		{name: "overflow", when: `body.total * body.total > 1`, err: "overflow"},
		{name: "neither true nor false", when: `body.status`, err: "it gave string"},
		{name: "a value is never quoted", when: `int(body.status) == 1`, err: "it cannot be evaluated with the values of this event"},
		{
			name: "too much work", when: `body.items.all(a, body.l.all(b, body.l.all(c, a != b)))`,
			body: `{"items":[1,2,3,4],"l":[` + strings.Repeat("0,", 300) + `0]}`, err: "more work than the limit",
		},
		{name: "texts that double", when: `[body.status]` + strings.Repeat(".map(x, x + x)", 200) + `.size() > 0`, err: "more work than the limit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			condition, err := CompileCondition(test.when)
			if err != nil {
				t.Fatal(err)
			}
			body := test.body
			if body == "" {
				body = orderBody
			}
			got, err := condition.Matches(t.Context(), order, NewBody([]byte(body)))
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestCompileCondition(t *testing.T) {
	for _, test := range []struct {
		when string
		want SyntaxError
	}{
		{`event.tpye == "x"`, SyntaxError{1, 6, "undefined field 'tpye'"}},
		{"event.type == \"x\" &&\n  evnt.id == \"y\"", SyntaxError{2, 3, "undeclared reference to 'evnt' (did you mean 'event'?)"}},
		{`event.type == 5`, SyntaxError{1, 12, "found no matching overload for '_==_' applied to '(string, int)'"}},
		{`body.total >`, SyntaxError{1, 13, "the expression ends too early"}},
		{`body.total > )`, SyntaxError{1, 14, "')' does not fit here"}},
		{`event.type`, SyntaxError{1, 1, "a condition answers true or false, this gives string; compare it with something"}},
	} {
		_, err := CompileCondition(test.when)
		var got *SyntaxError
		if !errors.As(err, &got) {
			t.Errorf("%s: %v", test.when, err)
			continue
		}
		if diff := cmp.Diff(test.want, *got); diff != "" {
			t.Errorf("%s: %s", test.when, diff)
		}
	}
	for _, when := range []string{``, `event.`, `event{}`, `event.type.matches("(")`, strings.Repeat("true && ", 2000) + "true", strings.Repeat("(", 500)} {
		var syntax *SyntaxError
		if _, err := CompileCondition(when); !errors.As(err, &syntax) {
			t.Errorf("%.30q: %v", when, err)
		}
	}
}

func TestCondition_Matches_Cancelled(t *testing.T) {
	condition, err := CompileCondition(`body.all(a, body.all(b, a != b || a == b))`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := NewBody([]byte("[" + strings.Repeat("1,", 200) + "1]"))
	if _, err := condition.Matches(ctx, order, body); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Whatever a body holds, a condition answers or fails; it never panics, and asking
// again gives the same.
func TestCondition_Matches_AnyBody(t *testing.T) {
	var conditions []*Condition
	for _, when := range []string{`body.a.b > 1`, `body[0].a == "x"`, `body.a.exists(x, x.b == 1)`, `body.a + body.b == 3`, `body`} {
		c, err := CompileCondition(when)
		if err != nil {
			t.Fatal(err)
		}
		conditions = append(conditions, c)
	}
	fragments := []string{`{`, `}`, `[`, `]`, `,`, `:`, `"a"`, `"b"`, `1`, `-1.5e3`, `99999999999999999999`, `1e999`, `null`, `true`, `"x"`}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(fragments), 0, 12).Draw(t, "fragments"), "")
		for i, c := range conditions {
			first, err1 := c.Matches(t.Context(), order, NewBody([]byte(text)))
			again, err2 := c.Matches(t.Context(), order, NewBody([]byte(text)))
			if first != again || (err1 == nil) != (err2 == nil) {
				t.Fatalf("condition %d on %s: %v %v, then %v %v", i, text, first, err1, again, err2)
			}
			if first && err1 != nil {
				t.Fatalf("condition %d on %s: true and %v", i, text, err1)
			}
		}
	})
}

func BenchmarkCondition_Matches(b *testing.B) {
	for name, when := range map[string]string{
		"event": `event.type == "order.created" && event.outlet in ["mall", "station"]`,
		"body":  `body.status == "paid" && body.total > 100`,
	} {
		condition, err := CompileCondition(when)
		if err != nil {
			b.Fatal(err)
		}
		for _, parse := range []string{"parsed", "unparsed"} {
			b.Run(name+"/"+parse, func(b *testing.B) {
				body := NewBody([]byte(orderBody))
				b.ReportAllocs()
				for b.Loop() {
					if parse == "unparsed" {
						body = NewBody([]byte(orderBody))
					}
					if ok, err := condition.Matches(b.Context(), order, body); !ok || err != nil {
						b.Fatal(ok, err)
					}
				}
			})
		}
	}
}
