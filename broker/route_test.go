package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"raffsync/outbox"
)

func mustCompile(t testing.TB, c outbox.Configuration, n outbox.Names) *Rules {
	t.Helper()
	rules, _, err := CompileRules(c, n)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestRoute(t *testing.T) {
	rules := mustCompile(t, configuration(
		outbox.RouteConfig{Name: "paid", From: []string{"till"}, To: "books", Types: []string{"order.*"}, When: `body.paid`},
		outbox.RouteConfig{Name: "big", To: "books", Types: []string{"order.created"}, When: `body.total > 100`},
		outbox.RouteConfig{Name: "rest", To: "books", Types: []string{"order.created", "order.changed"}},
		outbox.RouteConfig{Name: "moves", To: "stock", Types: []string{"stock.moved", "order.created"}},
	), numbers)
	for _, test := range []struct {
		name      string
		source    int32
		eventType string
		body      string
		want      []outbox.Target
		err       string
	}{
		{"first wins", 1, "order.created", `{"paid":true,"total":500}`, []outbox.Target{{Destination: 10, Route: "paid"}, {Destination: 20, Route: "moves"}}, ""},
		{"second", 1, "order.created", `{"paid":false,"total":500}`, []outbox.Target{{Destination: 10, Route: "big"}, {Destination: 20, Route: "moves"}}, ""},
		{"not from this source", 2, "order.created", `{"paid":true,"total":5}`, []outbox.Target{{Destination: 10, Route: "rest"}, {Destination: 20, Route: "moves"}}, ""},
		{"absent is no match", 1, "order.changed", `{}`, []outbox.Target{{Destination: 10, Route: "rest"}}, ""},
		{"prefix", 1, "order.line.added", `{"paid":true}`, []outbox.Target{{Destination: 10, Route: "paid"}}, ""},
		{"nobody", 2, "order", `{}`, nil, ""},
		{"unknown source", 3, "order.created", `{}`, nil, ""},
		{"a failing condition fails the event", 2, "order.created", `{"total":"many"}`, nil, `the condition of route "big" failed: it compares`},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := outbox.Event{Source: test.source, Type: test.eventType, ContentType: "application/json", Payload: []byte(test.body)}
			got, err := Route(&e, rules)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v", err)
			}
			if len(got)+len(test.want) > 0 && !cmp.Equal(got, test.want) {
				t.Error(cmp.Diff(test.want, got))
			}
		})
	}
	if got, err := Route(&outbox.Event{}, nil); got != nil || err != nil {
		t.Errorf("without rules: %v, %v", got, err)
	}
}

func TestRoute_BodyByContentType(t *testing.T) {
	rules := mustCompile(t, configuration(outbox.RouteConfig{Name: "a", To: "books", When: `body.a == 1`}), numbers)
	for contentType, want := range map[string]int{
		"application/json": 1, "application/json; charset=utf-8": 1, "Application/JSON": 1, "application/cloudevents+json": 1,
		"text/plain": 0, "application/jsonx": 0,
	} {
		got, err := Route(&outbox.Event{Source: 1, ContentType: contentType, Payload: []byte(`{"a":1}`)}, rules)
		if err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", contentType, got, err)
		}
	}
}

// What the conditions of the properties mean, told in Go. The body is {"n": n}.
var meaning = map[string]func(n int) (bool, error){
	"":               func(int) (bool, error) { return true, nil },
	"body.n > 1":     func(n int) (bool, error) { return n > 1, nil },
	"body.n == 0":    func(n int) (bool, error) { return n == 0, nil },
	"body.m == 0":    func(int) (bool, error) { return false, nil }, // absent
	"1 / body.n > 0": func(n int) (bool, error) { return n == 1, map[bool]error{true: errors.New("division")}[n == 0] },
}

var (
	patternTexts = []string{"a", "a.*", "a.b", "a.b.*", "a.b.c", "b", "b.*"}
	typeTexts    = []string{"a", "a.b", "a.b.c", "a.x", "a.b.x", "b", "b.x", "c"}
)

// reachable draws a configuration that compiles: routes that could never be reached
// are left out, as CompileRules names them.
func reachable(t *rapid.T, conditions ...string) outbox.Configuration {
	draw := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) outbox.RouteConfig {
		return outbox.RouteConfig{
			From:  rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"till", "web"}), 0, 2, rapid.ID).Draw(t, "from"),
			To:    rapid.SampledFrom([]string{"books", "stock"}).Draw(t, "to"),
			Types: rapid.SliceOfN(rapid.SampledFrom(patternTexts), 0, 3).Draw(t, "types"),
			When:  rapid.SampledFrom(conditions).Draw(t, "when"),
		}
	}), 0, 7).Draw(t, "routes")
	for i := range draw {
		draw[i].Name = fmt.Sprintf("r%d", i)
	}
	for {
		c := configuration(draw...)
		_, _, err := CompileRules(c, numbers)
		if err == nil {
			return c
		}
		var fault *ConfigurationError
		if !errors.As(err, &fault) || !strings.Contains(fault.Error(), "never be reached") {
			t.Fatal(err)
		}
		for _, e := range everyEvent() {
			targets, _ := naive(c, e)
			if slices.ContainsFunc(targets, func(target outbox.Target) bool { return target.Route == fault.Route }) {
				t.Fatalf("%s is said never to be reached, but takes %+v", fault.Route, e)
			}
		}
		draw = slices.Delete(draw, fault.Position, fault.Position+1)
	}
}

func everyEvent() (all []outbox.Event) {
	for source := range int32(3) {
		for _, eventType := range typeTexts {
			for n := range 3 {
				all = append(all, outbox.Event{Source: source + 1, Type: eventType, ContentType: "application/json", Payload: fmt.Appendf(nil, `{"n":%d}`, n)})
			}
		}
	}
	return all
}

// naive is Route as its documentation reads: go through the routes, skip those whose
// destination has its target.
func naive(c outbox.Configuration, e outbox.Event) ([]outbox.Target, error) {
	var targets []outbox.Target
	n := int(e.Payload[len(`{"n":`)] - '0')
	for _, r := range c.Routes {
		to := numbers.Destinations[r.To]
		from := r.From
		if len(from) == 0 {
			from = []string{"till", "web"}
		}
		if slices.ContainsFunc(targets, func(t outbox.Target) bool { return t.Destination == to }) ||
			!slices.ContainsFunc(from, func(s string) bool { return numbers.Sources[s] == e.Source }) {
			continue
		}
		takes := len(r.Types) == 0 || slices.ContainsFunc(r.Types, func(p string) bool {
			stem, prefix := strings.CutSuffix(p, "*")
			return p == e.Type || prefix && strings.HasPrefix(e.Type, stem)
		})
		if !takes {
			continue
		}
		matches, err := meaning[r.When](n)
		if err != nil {
			return nil, err
		}
		if matches {
			targets = append(targets, outbox.Target{Destination: to, Route: r.Name})
		}
	}
	return targets, nil
}

func byDestination(targets []outbox.Target) map[int32]string {
	m := make(map[int32]string)
	for _, t := range targets {
		m[t.Destination] = t.Route
	}
	return m
}

func TestRoute_Properties(t *testing.T) {
	conditions := slices.Sorted(maps.Keys(meaning))
	t.Run("FirstMatchWinsOncePerDestination", rapid.MakeCheck(func(t *rapid.T) {
		c := reachable(t, conditions...)
		rules, _, _ := CompileRules(c, numbers)
		for _, e := range everyEvent() {
			got, err := Route(&e, rules)
			want, wantErr := naive(c, e)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%+v: %v, want %v", e, err, wantErr)
			}
			if len(byDestination(got)) != len(got) {
				t.Fatalf("%+v: a destination twice: %v", e, got)
			}
			if diff := cmp.Diff(byDestination(want), byDestination(got)); diff != "" {
				t.Fatalf("%+v: %s", e, diff)
			}
		}
	}))
	t.Run("OrderAcrossDestinationsDoesNotMatter", rapid.MakeCheck(func(t *rapid.T) {
		c := reachable(t, conditions...)
		// Sorting by destination keeps the order of each destination's own routes.
		sorted := c
		sorted.Routes = slices.Clone(c.Routes)
		direction := rapid.SampledFrom([]int{-1, 1}).Draw(t, "direction")
		slices.SortStableFunc(sorted.Routes, func(a, b outbox.RouteConfig) int { return strings.Compare(a.To, b.To) * direction })
		rules, _, _ := CompileRules(c, numbers)
		again, _, err := CompileRules(sorted, numbers)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range everyEvent() {
			a, err1 := Route(&e, rules)
			b, err2 := Route(&e, again)
			if (err1 == nil) != (err2 == nil) || !maps.Equal(byDestination(a), byDestination(b)) {
				t.Fatalf("%+v: %v %v, sorted %v %v", e, a, err1, b, err2)
			}
		}
	}))
	t.Run("EveryUnconditionalRouteOfAConfigurationIsReached", rapid.MakeCheck(func(t *rapid.T) {
		c := reachable(t, "")
		rules, _, _ := CompileRules(c, numbers)
		reached := make(map[string]bool)
		for _, e := range everyEvent() {
			targets, _ := Route(&e, rules)
			for _, target := range targets {
				reached[target.Route] = true
			}
		}
		for _, r := range c.Routes {
			if !reached[r.Name] {
				t.Fatalf("%s is never reached, and nobody said so: %+v", r.Name, c.Routes)
			}
		}
	}))
}

func BenchmarkRoute(b *testing.B) {
	for _, test := range []struct{ name, when string }{{"Unconditional", ""}, {"Condition", `body.paid == true`}} {
		b.Run(test.name, func(b *testing.B) {
			rules := mustCompile(b, configuration(
				outbox.RouteConfig{Name: "a", To: "books", Types: []string{"stock.*"}},
				outbox.RouteConfig{Name: "b", To: "books", Types: []string{"order.*"}, When: test.when},
				outbox.RouteConfig{Name: "c", To: "stock"},
			), numbers)
			e := outbox.Event{Source: 1, Type: "order.created", ContentType: "application/json", Payload: []byte(`{"paid":true,"total":100}`)}
			b.ReportAllocs()
			for b.Loop() {
				if targets, err := Route(&e, rules); len(targets) != 2 || err != nil {
					b.Fatal(targets, err)
				}
			}
		})
	}
}
