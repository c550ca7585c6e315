package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"raffsync/broker"
	"raffsync/connectors/mapping"
	"raffsync/outbox"
)

// checkRoutes looks at what routes name, and has the broker compile those that are
// sound so far: their types, conditions, and whether each can be reached. Routes that
// are not sound stay out, lest the others be blamed for them.
func (d *decoder) checkRoutes(c *outbox.Configuration) {
	var sources, destinations []string
	checked := outbox.Configuration{Tenant: c.Tenant}
	for _, s := range c.Sources {
		if validName.MatchString(s.Name) {
			sources, checked.Sources = append(sources, s.Name), append(checked.Sources, s)
		}
	}
	for _, t := range c.Destinations {
		if validName.MatchString(t.Name) {
			destinations, checked.Destinations = append(destinations, t.Name), append(checked.Destinations, t)
		}
	}
	for _, r := range c.Routes {
		before := len(d.problems)
		path := "routes." + r.Name
		for i, name := range r.From {
			if !slices.Contains(sources, name) {
				d.fail(d.places[element(path+".from", i)], path+".from", "there is no source %q%s expected one of %s",
					name, didYouMean(name, sources), choices(sources))
			}
		}
		if r.To != "" && !slices.Contains(destinations, r.To) {
			d.fail(d.places[path+".to"], path+".to", "leads nowhere: there is no destination %q%s expected one of %s",
				r.To, didYouMean(r.To, destinations), choices(destinations))
		}
		if len(d.problems) == before && !d.unsound[r.Name] {
			d.plan(path+".steps", &r)
		}
		if len(d.problems) == before && !d.unsound[r.Name] {
			checked.Routes = append(checked.Routes, r)
		}
	}
	warnings, err := broker.CheckRoutes(checked)
	for _, cause := range causes(err) {
		d.routeProblem(checked, cause)
	}
	// One warning a route: the pairs go by the square of the routes.
	for len(warnings) > 0 {
		route, earlier := warnings[0].Route, []string(nil)
		for len(warnings) > 0 && warnings[0].Route == route {
			earlier, warnings = append(earlier, warnings[0].Earlier), warnings[1:]
		}
		path := "routes." + route
		d.warn(d.names[path], path, "an earlier route to the same destination may take some of its events (%s); the first that matches wins", choices(earlier))
	}
}

// routeProblem places an error of the broker.
func (d *decoder) routeProblem(c outbox.Configuration, err error) {
	var fault *broker.ConfigurationError
	if !errors.As(err, &fault) || fault.Position < 0 {
		d.fail(position{}, "", "%s", firstLine(err.Error()))
		return
	}
	path := join("routes."+fault.Route, fault.Field)
	at, given := d.places[path]
	if !given {
		// What is said of a field that was left out is said of the route.
		path = "routes." + fault.Route
		at = d.names[path]
	}
	message := firstLine(fault.Err.Error())
	var wrong *mapping.SyntaxError
	if errors.As(fault.Err, &wrong) {
		expression, what := c.Routes[fault.Position].When, "a condition"
		if fault.Field == "version" {
			expression, what = c.Routes[fault.Position].Version, "a version"
		}
		if i, of := stepOf(fault.Field); of != "" {
			expression, what = c.Routes[fault.Position].Steps[i].Effect, "a name with ${…}"
		}
		if text, ok := exposureText(c.Routes[fault.Position].Exposure, fault.Field); ok {
			expression, what = text, "a text with ${…}"
		}
		at = d.within(at, expression, wrong.Line, wrong.Column)
		message = "not " + what + " in CEL: " + firstLine(wrong.Message)
	}
	if _, of := stepOf(fault.Field); of == "" {
		path, _, _ = strings.Cut(path, "[")
	}
	d.fail(at, path, "%s", message)
}

// stepOf reads "steps[1].effect"; of is empty where the field is another.
func stepOf(field string) (index int, of string) {
	if n, _ := fmt.Sscanf(field, "steps[%d].%s", &index, &of); n != 2 {
		return 0, ""
	}
	return index, of
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// within is the place of a line and column of a text, where the text stands in the
// file as it is; otherwise, its beginning.
func (d *decoder) within(start position, text string, line, column int) position {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return start
	}
	// A block (|) begins in the line below its sign.
	for _, candidate := range []int{start.line + line - 1, start.line + line} {
		if candidate < 1 || candidate > len(d.src.lines) {
			continue
		}
		from := 0
		if candidate == start.line {
			from = min(start.column-1, len(d.src.lines[candidate-1]))
		}
		before, _, ok := strings.Cut(string(d.src.lines[candidate-1][from:]), lines[line-1])
		if ok {
			return position{candidate, from + len([]rune(before)) + column}
		}
	}
	return start
}
