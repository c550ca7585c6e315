package broker

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors/mapping"
	"raffsync/outbox"
)

// configuration of sources till and web, and destinations books and stock.
func configuration(routes ...outbox.RouteConfig) outbox.Configuration {
	return outbox.Configuration{
		Tenant:       "kopi",
		Sources:      []outbox.SourceConfig{{Name: "till"}, {Name: "web"}},
		Destinations: []outbox.DestinationConfig{{Name: "books"}, {Name: "stock"}},
		Routes:       routes,
	}
}

var numbers = outbox.Names{Sources: map[string]int32{"till": 1, "web": 2}, Destinations: map[string]int32{"books": 10, "stock": 20}}

func TestCompileRules(t *testing.T) {
	route := func(name, to string, types ...string) outbox.RouteConfig {
		return outbox.RouteConfig{Name: name, To: to, Types: types}
	}
	when := func(r outbox.RouteConfig, when string) outbox.RouteConfig { r.When = when; return r }
	from := func(r outbox.RouteConfig, from ...string) outbox.RouteConfig { r.From = from; return r }
	tests := []struct {
		name     string
		routes   []outbox.RouteConfig
		faults   []string
		warnings []string
	}{
		{name: "none"},
		{name: "disjoint", routes: []outbox.RouteConfig{route("a", "books", "order.*"), route("b", "books", "stock.moved"), route("c", "stock")}},
		{
			name: "unknown destination", routes: []outbox.RouteConfig{route("a", "boks")},
			faults: []string{`route "a": to: there is no destination "boks"; configured: books, stock`},
		},
		{
			name: "unknown source", routes: []outbox.RouteConfig{from(route("a", "books"), "till", "tll")},
			faults: []string{`route "a": from[1]: there is no source "tll"; configured: till, web`},
		},
		{name: "no name", routes: []outbox.RouteConfig{route("", "books")}, faults: []string{`route "": name: a route needs a name`}},
		{
			name: "a name twice", routes: []outbox.RouteConfig{route("a", "books", "x"), route("a", "stock")},
			faults: []string{`route "a": name: the name is taken by route 1; rename or remove one`},
		},
		{name: "not a type", routes: []outbox.RouteConfig{route("a", "books", "order.created", "Order", "*", "order*", ".*", "a..b", "")}, faults: []string{
			`route "a": types[1]: "Order" is no type`, `route "a": types[2]: "*" is no type`, `route "a": types[3]: "order*" is no type`,
			`route "a": types[4]: ".*" is no type`, `route "a": types[5]: "a..b" is no type`, `route "a": types[6]: "" is no type`,
		}},
		{
			name: "bad condition", routes: []outbox.RouteConfig{when(route("a", "books"), `event.tpye == "x"`)},
			faults: []string{`route "a": when: line 1, column 6: undefined field 'tpye'`},
		},
		{
			name: "every fault at once", routes: []outbox.RouteConfig{when(route("a", "nowhere", "!"), "(")},
			faults: []string{`route "a": to:`, `route "a": types[0]:`, `route "a": when:`},
		},
		{
			name: "the same twice", routes: []outbox.RouteConfig{route("a", "books", "x"), route("b", "books", "x")},
			faults: []string{`route "b": types: it can never be reached: all it takes goes to the same destination by "a" before`},
		},
		{name: "behind all", routes: []outbox.RouteConfig{route("a", "books"), when(route("b", "books", "x.*"), "body.a")}, faults: []string{`route "b": types: it can never`}},
		{name: "behind a prefix", routes: []outbox.RouteConfig{route("a", "books", "x.*"), route("b", "books", "x.y.*", "x.z")}, faults: []string{`route "b": types: it can never`}},
		{name: "behind several together", routes: []outbox.RouteConfig{
			from(route("a", "books", "x"), "till"), from(route("b", "books", "x"), "web"), route("c", "books", "x"),
		}, faults: []string{`by "a" and "b" before`}},
		{
			name: "behind several conditions", routes: []outbox.RouteConfig{when(route("a", "books"), "body.a"), when(route("b", "books"), "body.a"), route("c", "books")},
			warnings: []string{"b after a", "c after a", "c after b"},
		},
		{name: "partly behind", routes: []outbox.RouteConfig{route("a", "books", "x.y"), route("b", "books", "x.*")}, warnings: []string{"b after a"}},
		{name: "partly behind, by source", routes: []outbox.RouteConfig{from(route("a", "books"), "till"), route("b", "books")}, warnings: []string{"b after a"}},
		{name: "a prefix does not take its stem", routes: []outbox.RouteConfig{route("a", "books", "x.*"), route("b", "books", "x")}},
		{name: "other source", routes: []outbox.RouteConfig{from(route("a", "books"), "till"), from(route("b", "books"), "web")}},
		{name: "other destination", routes: []outbox.RouteConfig{route("a", "books"), route("b", "stock")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rules, warnings, err := CompileRules(configuration(test.routes...), numbers)
			checkFaults(t, err, test.faults)
			if (rules == nil) != (err != nil) {
				t.Errorf("rules %v with error %v", rules, err)
			}
			var got []string
			for _, w := range warnings {
				got = append(got, w.Route+" after "+w.Earlier)
				if test.routes[w.Position].Name != w.Route {
					t.Errorf("warning at route %d: %s", w.Position, w)
				}
			}
			if diff := cmp.Diff(test.warnings, got); diff != "" {
				t.Error(diff)
			}
			checked, err := CheckRoutes(configuration(test.routes...))
			checkFaults(t, err, test.faults)
			if len(checked) != len(warnings) {
				t.Errorf("CheckRoutes warns %v", checked)
			}
		})
	}
}

func checkFaults(t *testing.T, err error, want []string) {
	t.Helper()
	var got []error
	if err != nil {
		got = err.(interface{ Unwrap() []error }).Unwrap()
	}
	if len(got) != len(want) {
		t.Fatalf("faults %v, want %q", err, want)
	}
	for i, fault := range got {
		var typed *ConfigurationError
		if !errors.As(fault, &typed) {
			t.Errorf("%T: %v", fault, fault)
		}
		if !strings.Contains(fault.Error(), want[i]) {
			t.Errorf("fault %d: %v, want %q", i, fault, want[i])
		}
	}
}

func TestCompileRules_Names(t *testing.T) {
	c := configuration(outbox.RouteConfig{Name: "a", To: "books", When: "body.("})
	c.Sources = append(c.Sources, outbox.SourceConfig{Name: "till"}, outbox.SourceConfig{}, outbox.SourceConfig{Name: "new"})
	c.Destinations = append(c.Destinations, outbox.DestinationConfig{Name: "books"})
	_, _, err := CompileRules(c, numbers)
	checkFaults(t, err, []string{
		`sources[2].name: the source "till" is there twice`, `sources[3].name: a source needs a name`,
		`sources[4].name: the source "new" is not in the database`, `destinations[2].name: the destination "books" is there twice`, `route "a": when:`,
	})
	var syntax *mapping.SyntaxError
	if !errors.As(err, &syntax) || syntax.Line != 1 {
		t.Errorf("no place in the expression: %v", err)
	}
}
