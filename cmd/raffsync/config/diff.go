package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"raffsync/outbox"
)

// Change is one difference between two configurations, in words without secrets.
type Change struct {
	// Action is "added" or "removed" for a whole, "changed" for what differs of one.
	Action string `json:"action"`
	// Kind is "tenant", "source", "team", "outlet", "policy", "mail", "links", "destination",
	// "route" or "routes"; Name is whose.
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	// Field is what differs: empty where the whole was added or removed.
	Field string `json:"field,omitempty"`
	// From and To are the values of what was changed, as they may be shown: From is empty
	// for what is set, To for what is left out.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// String is a line for people: "destination webstore: concurrency 8 → 16".
func (c Change) String() string {
	subject := strings.TrimSpace(c.Kind + " " + c.Name)
	switch {
	case c.Action != changed:
		return subject + ": " + c.Action
	case c.Field == "":
		return fmt.Sprintf("%s: %s → %s", subject, c.From, c.To)
	case c.From == c.To && c.From == "…":
		return fmt.Sprintf("%s: %s changed", subject, c.Field)
	case c.From == c.To:
		return fmt.Sprintf("%s: %s changed (%s)", subject, c.Field, c.From)
	case c.From == "":
		return fmt.Sprintf("%s: %s set to %s", subject, c.Field, c.To)
	case c.To == "":
		return fmt.Sprintf("%s: %s %s left out", subject, c.Field, c.From)
	}
	return fmt.Sprintf("%s: %s %s → %s", subject, c.Field, c.From, c.To)
}

const (
	added   = "added"
	removed = "removed"
	changed = "changed"
)

// Diff says what applying after would change of before: nothing where [Digest] is the
// same. Removals come first, then additions and changes in the order of after.
func Diff(before, after outbox.Configuration) []Change {
	before, after = Canonical(before), Canonical(after)
	var all []Change
	if before.Tenant != after.Tenant {
		all = append(all, Change{Action: changed, Kind: "tenant", From: orNone(before.Tenant), To: orNone(after.Tenant)})
	}
	all = append(all, compare("source", before.Sources, after.Sources,
		func(c outbox.SourceConfig) string { return c.Name },
		sourceProperties)...)
	all = append(all, compare("outlet", before.Outlets, after.Outlets,
		func(c outbox.OutletConfig) string { return c.Name },
		func(c outbox.OutletConfig) []property {
			return []property{
				plain("timezone", orWord(c.Timezone, "not known")), plain("open", orWord(c.Open, "always")),
				plain("holidays", orNone(strings.Join(c.Holidays, ", "))), plain("team", orNone(c.Team)),
			}
		})...)
	all = append(all, compareRanking(before, after)...)
	all = append(all, compareNotices(before, after)...)
	all = append(all, compare("destination", before.Destinations, after.Destinations,
		func(c outbox.DestinationConfig) string { return c.Name }, destinationProperties)...)
	all = append(all, compare("route", before.Routes, after.Routes,
		func(c outbox.RouteConfig) string { return c.Name }, routeProperties)...)
	if from, to := commonOrder(before.Routes, after.Routes), commonOrder(after.Routes, before.Routes); !slices.Equal(from, to) {
		all = append(all, Change{Action: changed, Kind: "routes", Field: "order", From: strings.Join(from, ", "), To: strings.Join(to, ", ")})
	}
	return all
}

// property is one thing to compare. shown is the value as it may be shown, raw as it is.
type property struct{ name, raw, shown string }

func plain(name, text string) property { return property{name, text, text} }

func compare[T any](kind string, before, after []T, nameOf func(T) string, properties func(T) []property) []Change {
	var all []Change
	index := func(in []T, name string) int {
		return slices.IndexFunc(in, func(one T) bool { return nameOf(one) == name })
	}
	for _, one := range before {
		if index(after, nameOf(one)) < 0 {
			all = append(all, Change{Action: removed, Kind: kind, Name: nameOf(one)})
		}
	}
	for _, one := range after {
		i := index(before, nameOf(one))
		if i < 0 {
			all = append(all, Change{Action: added, Kind: kind, Name: nameOf(one)})
			continue
		}
		for _, c := range differences(properties(before[i]), properties(one)) {
			c.Action, c.Kind, c.Name = changed, kind, nameOf(one)
			all = append(all, c)
		}
	}
	return all
}

func differences(before, after []property) []Change {
	var all []Change
	find := func(in []property, name string) (property, bool) {
		i := slices.IndexFunc(in, func(p property) bool { return p.name == name })
		if i < 0 {
			return property{}, false
		}
		return in[i], true
	}
	for _, p := range before {
		if _, still := find(after, p.name); !still {
			all = append(all, Change{Field: p.name, From: p.shown})
		}
	}
	for _, p := range after {
		if old, was := find(before, p.name); !was || old.raw != p.raw {
			all = append(all, Change{Field: p.name, From: old.shown, To: p.shown})
		}
	}
	return all
}

func destinationProperties(c outbox.DestinationConfig) []property {
	all := []property{
		plain("kind", c.Kind),
		plain("concurrency", strconv.Itoa(c.Concurrency)),
		plain("rate", cmp.Or(string(c.Rate), "no limit")),
		plain("burst", strconv.Itoa(max(c.Burst, outbox.DefaultBurst))),
		plain("quota", cmp.Or(string(c.Quota), "no limit")),
		plain("timeout", formatDuration(c.Timeout)),
		plain("breaker.window", formatDuration(c.Breaker.Window)),
		plain("breaker.min_requests", strconv.Itoa(c.Breaker.MinRequests)),
		plain("breaker.failure_ratio", formatNumber(c.Breaker.FailureRatio)),
		plain("breaker.open_for", formatDuration(c.Breaker.OpenFor)),
		plain("breaker.probes", strconv.Itoa(c.Breaker.Probes)),
		plain("authorisation_probe", formatDuration(cmp.Or(c.AuthorisationProbe, outbox.DefaultAuthorisationProbe))),
		{"rules", string(c.Rules), ruleNames(c.Rules)},
	}
	return append(all, settingProperties(c.Kind, c.Settings)...)
}

// settingProperties name every single value of a connector's settings.
func settingProperties(path string, raw json.RawMessage) []property {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	var settings any
	if decoder.Decode(&settings) != nil {
		return []property{{path, string(raw), "…"}}
	}
	return flatten(path, settings)
}

func sourceProperties(c outbox.SourceConfig) []property {
	all := optionalDuration(nil, "silent_after", c.SilentAfter)
	for _, section := range []struct {
		name string
		raw  json.RawMessage
	}{{"webhook", c.Webhook}, {"event", c.Event}} {
		if section.raw == nil {
			continue
		}
		for _, p := range settingProperties(section.name, section.raw) {
			// Expressions hold no secret, nor do names of schemes and headers.
			p.shown = strings.TrimPrefix(p.raw, "text ")
			all = append(all, p)
		}
	}
	return all
}

// ruleNames are what is shown of rules.
func ruleNames(raw json.RawMessage) string {
	var rules []struct{ Name string }
	if len(raw) == 0 {
		return "none"
	}
	if json.Unmarshal(raw, &rules) != nil {
		return "…"
	}
	var names []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// flatten names every single value in settings by its path.
func flatten(path string, v any) []property {
	switch v := v.(type) {
	case map[string]any:
		var all []property
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, flatten(join(path, name), v[name])...)
		}
		return all
	case []any:
		var all []property
		for i, element := range v {
			all = append(all, flatten(fmt.Sprintf("%s[%d]", path, i), element)...)
		}
		return all
	case string:
		return []property{{path, "text " + v, visible(v)}}
	}
	return []property{{path, fmt.Sprint(v), visible(fmt.Sprint(v))}}
}

// optionalDuration adds a duration where there is one.
func optionalDuration(all []property, name string, d time.Duration) []property {
	if d == 0 {
		return all
	}
	return append(all, plain(name, formatDuration(d)))
}

func routeProperties(c outbox.RouteConfig) []property {
	return exposureProperties(optionalList(optionalList(optionalDuration([]property{
		plain("from", orWord(strings.Join(c.From, ", "), "every source")),
		plain("to", c.To),
		plain("types", orWord(strings.Join(c.Types, ", "), "every type")),
		plain("mode", string(cmp.Or(c.Mode, outbox.Live))),
		plain("when", orWord(c.When, "always")),
		plain("version", orWord(c.Version, "none")),
		plain("on_exception", string(c.OnException)),
		plain("retry.initial", formatDuration(c.Retry.Initial)),
		plain("retry.factor", formatNumber(c.Retry.Factor)),
		plain("retry.cap", formatDuration(c.Retry.Cap)),
		plain("retry.attempts", strconv.Itoa(c.Retry.Attempts)),
		plain("retry.age", formatDuration(c.Retry.Age)),
	}, "deliver_within", c.DeliverWithin), "edits.allow", c.Edits.Allow), "edits.second_person", c.Edits.SecondPerson), c.Steps, c.Exposure)
}

// optionalList adds a list where there is one.
func optionalList(all []property, name string, list []string) []property {
	if len(list) == 0 {
		return all
	}
	return append(all, plain(name, strings.Join(list, ", ")))
}

func orWord(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func orNone(text string) string { return orWord(text, "none") }

// commonOrder is the order in which routes has the names that both have.
func commonOrder(routes, other []outbox.RouteConfig) []string {
	var names []string
	for _, r := range routes {
		if slices.ContainsFunc(other, func(o outbox.RouteConfig) bool { return o.Name == r.Name }) {
			names = append(names, r.Name)
		}
	}
	return names
}
