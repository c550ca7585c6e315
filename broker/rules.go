package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"raffsync/connectors/mapping"
	"raffsync/outbox"
)

// Rules are a tenant's routes, compiled. They never change: a new configuration is
// a new value.
type Rules struct {
	bySource map[int32][]choice
}

// HeldRules stand for a tenant's routes where they cannot be compiled: its sources are
// asked to come again later, since nobody can say where its events are to go.
var HeldRules = &Rules{}

// choice is the routes of one destination that take from one source, in the order
// of the configuration.
type choice struct {
	destination int32
	routes      []*route
}

type route struct {
	name        string
	position    int // in the configuration
	sources     []int32
	destination int32
	types       []pattern
	when        *mapping.Condition // nil: always
}

func (r *route) takes(eventType string) bool {
	return slices.ContainsFunc(r.types, func(p pattern) bool { return p.matches(eventType) })
}

// Names tells whether a route is there for events of a source and type, whatever its
// condition makes of them. Nil rules name nothing.
func (r *Rules) Names(source int32, eventType string) bool {
	if r == nil {
		return false
	}
	return slices.ContainsFunc(r.bySource[source], func(c choice) bool {
		return slices.ContainsFunc(c.routes, func(r *route) bool { return r.takes(eventType) })
	})
}

// ConfigurationError is one fault in what [CompileRules] was given, addressed so
// that whoever read it from a file can add the line.
type ConfigurationError struct {
	// Route is the name of the route at fault, Position its place among the routes
	// from 0. Where the fault is not in a route they are "" and -1.
	Route    string
	Position int
	// Field at fault: "to", "from[1]", "types[0]", "when", "name"; outside a route
	// "sources[2].name".
	Field string
	// Err says what is wrong and what to do. For Field "when" it is a
	// [*mapping.SyntaxError], with the place in the expression.
	Err error
}

func (e *ConfigurationError) Error() string {
	if e.Position < 0 {
		return fmt.Sprintf("%s: %s", e.Field, e.Err)
	}
	return fmt.Sprintf("route %q: %s: %s", e.Route, e.Field, e.Err)
}

func (e *ConfigurationError) Unwrap() error { return e.Err }

// Warning points at a route that an earlier one to the same destination may take
// events from. Often that is meant: the particular before the general.
type Warning struct {
	Route, Earlier string
	Position       int // of Route, among the routes from 0
}

func (w Warning) String() string {
	return fmt.Sprintf("route %q: route %q stands before it, goes to the same destination, and wins where both match", w.Route, w.Earlier)
}

// CompileRules compiles a configuration's routes. Where that fails, the error joins
// every fault found, each a [*ConfigurationError]. A route whose events are all
// taken by earlier routes to its destination is a fault: it could never be reached.
func CompileRules(c outbox.Configuration, names outbox.Names) (*Rules, []Warning, error) {
	p := compiler{
		sources:      make(map[string]int32),
		destinations: make(map[string]int32),
		positions:    make(map[string]int),
	}
	for i, s := range c.Sources {
		p.name(p.sources, names.Sources, s.Name, "source", fmt.Sprintf("sources[%d].name", i))
	}
	for i, d := range c.Destinations {
		p.name(p.destinations, names.Destinations, d.Name, "destination", fmt.Sprintf("destinations[%d].name", i))
	}
	for i, r := range c.Routes {
		p.route(i, r)
	}
	for i, r := range p.routes {
		p.reach(p.routes[:i], r)
	}
	if len(p.faults) > 0 {
		return nil, p.warnings, errors.Join(p.faults...)
	}
	rules := &Rules{bySource: make(map[int32][]choice)}
	for _, r := range p.routes {
		for _, source := range r.sources {
			rules.add(source, r)
		}
	}
	return rules, p.warnings, nil
}

// CheckRoutes finds what [CompileRules] would, before the configuration is applied:
// nothing of it need have a number yet.
func CheckRoutes(c outbox.Configuration) ([]Warning, error) {
	names := outbox.Names{Sources: make(map[string]int32), Destinations: make(map[string]int32)}
	for i, s := range c.Sources {
		names.Sources[s.Name] = int32(i)
	}
	for i, d := range c.Destinations {
		names.Destinations[d.Name] = int32(i)
	}
	_, warnings, err := CompileRules(c, names)
	return warnings, err
}

func (r *Rules) add(source int32, route *route) {
	choices := r.bySource[source]
	i := slices.IndexFunc(choices, func(c choice) bool { return c.destination == route.destination })
	if i < 0 {
		i = len(choices)
		choices = append(choices, choice{destination: route.destination})
	}
	choices[i].routes = append(choices[i].routes, route)
	r.bySource[source] = choices
}

type compiler struct {
	sources, destinations map[string]int32 // those configured
	positions             map[string]int   // of routes, by name
	routes                []*route         // those without a fault of their own
	warnings              []Warning
	faults                []error
}

func (p *compiler) name(known, numbers map[string]int32, name, kind, field string) {
	fault := func(err error) {
		p.faults = append(p.faults, &ConfigurationError{Position: -1, Field: field, Err: err})
	}
	if name == "" {
		fault(fmt.Errorf("a %s needs a name", kind))
		return
	}
	if _, twice := known[name]; twice {
		fault(fmt.Errorf("the %s %q is there twice; rename or remove one", kind, name))
		return
	}
	number, ok := numbers[name]
	if !ok {
		fault(fmt.Errorf("the %s %q is not in the database; apply the configuration first", kind, name))
	}
	known[name] = number // also without a number, so that its routes are not blamed
}

func (p *compiler) route(position int, c outbox.RouteConfig) {
	before := len(p.faults)
	fault := func(field string, err error) {
		p.faults = append(p.faults, &ConfigurationError{Route: c.Name, Position: position, Field: field, Err: err})
	}
	if c.Name == "" {
		fault("name", errors.New("a route needs a name"))
	} else if first, twice := p.positions[c.Name]; twice {
		fault("name", fmt.Errorf("the name is taken by route %d; rename or remove one", first+1))
	} else {
		p.positions[c.Name] = position
	}

	r := &route{name: c.Name, position: position}
	var ok bool
	if r.destination, ok = p.destinations[c.To]; !ok {
		fault("to", fmt.Errorf("there is no destination %q; %s", c.To, offer(p.destinations)))
	}
	for i, from := range c.From {
		source, ok := p.sources[from]
		if !ok {
			fault(fmt.Sprintf("from[%d]", i), fmt.Errorf("there is no source %q; %s", from, offer(p.sources)))
		} else if !slices.Contains(r.sources, source) {
			r.sources = append(r.sources, source)
		}
	}
	if len(c.From) == 0 {
		for _, source := range p.sources {
			r.sources = append(r.sources, source)
		}
	}
	for i, text := range c.Types {
		t, err := parsePattern(text)
		if err != nil {
			fault(fmt.Sprintf("types[%d]", i), err)
		}
		r.types = append(r.types, t)
	}
	if len(c.Types) == 0 {
		r.types = []pattern{{}}
	}
	if c.When != "" {
		var err error
		if r.when, err = mapping.CompileCondition(c.When); err != nil {
			fault("when", err)
		}
	}
	if _, err := CompileVersion(c.Version); err != nil {
		fault("version", err)
	}
	checkSteps(c.Steps, fault)
	checkExposure(c.Exposure, fault)
	if len(p.faults) == before {
		p.routes = append(p.routes, r)
	}
}

func offer(names map[string]int32) string {
	if len(names) == 0 {
		return "none is configured"
	}
	known := make([]string, 0, len(names))
	for name := range names {
		known = append(known, name)
	}
	slices.Sort(known)
	if len(known) > 10 {
		known = append(known[:10], "…")
	}
	return "configured: " + strings.Join(known, ", ")
}

// reach looks for earlier routes that take events of r. No finite number of types
// fills a prefix, so it is enough to look for one route that covers each pattern.
func (p *compiler) reach(earlier []*route, r *route) {
	covered := len(r.sources) > 0
	var by []string
	for _, source := range r.sources {
		for _, t := range r.types {
			i := slices.IndexFunc(earlier, func(e *route) bool {
				return e.when == nil && e.destination == r.destination && slices.Contains(e.sources, source) &&
					slices.ContainsFunc(e.types, func(q pattern) bool { return q.covers(t) })
			})
			if i < 0 {
				covered = false
			} else if name := fmt.Sprintf("%q", earlier[i].name); !slices.Contains(by, name) {
				by = append(by, name)
			}
		}
	}
	if covered {
		slices.Sort(by)
		p.faults = append(p.faults, &ConfigurationError{
			Route: r.name, Position: r.position, Field: "types",
			Err: fmt.Errorf("it can never be reached: all it takes goes to the same destination by %s before; move it up, give the earlier a condition, or remove it", strings.Join(by, " and ")),
		})
		return
	}
	for _, e := range earlier {
		if e.destination == r.destination &&
			slices.ContainsFunc(e.sources, func(s int32) bool { return slices.Contains(r.sources, s) }) &&
			slices.ContainsFunc(e.types, func(q pattern) bool { return slices.ContainsFunc(r.types, q.overlaps) }) {
			p.warnings = append(p.warnings, Warning{Route: r.name, Earlier: e.name, Position: r.position})
		}
	}
}
