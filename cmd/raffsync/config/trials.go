package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"raffsync/broker"
	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Trials is what came of the sample events beside a file, where nothing failed.
type Trials struct {
	// Samples are those that were tried: "shop/order.json".
	Samples []string
	// Unrouted are samples that no route wants, Unreached routes that none of their
	// sources' samples reaches.
	Unrouted, Unreached []string
	// Foreign are folders whose names are nearly those of sources, in words.
	Foreign []string
	// LookUps found nothing in empty tables, each destination, table and value once.
	LookUps []TriedLookUp
	// LeftOut are the places that every sample leaves out, since none has what they read:
	// "routes.sales.steps[1]: map.memo". They may be misspelt.
	LeftOut []string
}

// TriedLookUp is one that mapping tables have to answer.
type TriedLookUp struct{ Destination, Table, Value, Sample, Path string }

// trials has every route tried with the samples.
type trials struct {
	*decoder
	*Trials
	configuration *outbox.Configuration
	outlets       map[string]*time.Location
	reached       map[string]bool
	failures      map[trialFailure]*failedSamples
	order         []trialFailure
	lookedUp      map[TriedLookUp]bool
	parts         map[string]int // how often each was tried
	left          map[string]int // and how often something of it was left out
}

// trialFailure is one thing that is wrong with a route, whichever samples show it; call is
// what stands in the recipe and not in the route.
type trialFailure struct{ path, call, field, why string }

type failedSamples struct {
	first string
	more  int
}

// try tries the configuration, which is sound so far, with the samples beside it.
func (d *decoder) try(c *outbox.Configuration) *Trials {
	t := &trials{
		decoder: d, Trials: &Trials{}, configuration: c, outlets: make(map[string]*time.Location), reached: make(map[string]bool),
		failures: make(map[trialFailure]*failedSamples), lookedUp: make(map[TriedLookUp]bool), parts: make(map[string]int), left: make(map[string]int),
	}
	names := outbox.Names{Sources: make(map[string]int32), Destinations: make(map[string]int32)}
	var sources []string
	for i, s := range c.Sources {
		sources, names.Sources[s.Name] = append(sources, s.Name), int32(i)
	}
	for i, d := range c.Destinations {
		names.Destinations[d.Name] = int32(i)
	}
	for _, o := range c.Outlets {
		if zone, err := time.LoadLocation(o.Timezone); err == nil && o.Timezone != "" {
			t.outlets[o.Name] = zone
		}
	}
	rules, _, err := broker.CompileRules(*c, names)
	if err != nil {
		return t.Trials // said already
	}
	samples, foreign := d.readSamples(sources)
	t.Foreign = foreign
	sampled := make(map[string]bool)
	for _, s := range samples {
		t.Samples, sampled[s.source] = append(t.Samples, s.name), true
		t.sample(s, rules, names)
	}
	for _, f := range t.order {
		t.tell(f, t.failures[f])
	}
	for _, r := range c.Routes {
		from := r.From
		if len(from) == 0 {
			from = sources
		}
		if !t.reached[r.Name] && slices.ContainsFunc(from, func(s string) bool { return sampled[s] }) {
			t.Unreached = append(t.Unreached, r.Name)
		}
	}
	slices.SortStableFunc(t.LookUps, func(a, b TriedLookUp) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Table, b.Table))
	})
	for _, place := range slices.Sorted(maps.Keys(t.left)) {
		part, _, _ := strings.Cut(place, "\x00")
		if t.left[place] == t.parts[part] {
			t.LeftOut = append(t.LeftOut, strings.TrimPrefix(place, part+"\x00"))
		}
	}
	return t.Trials
}

// tell reports a failure once, with the first sample that shows it.
func (t *trials) tell(f trialFailure, shown *failedSamples) {
	at, _ := t.nearest(value{path: f.path, key: t.anchor(f.path)}, f.field)
	if key, written := t.names[f.call]; written {
		at, _ = t.nearest(value{path: f.call, key: key}, f.field)
	}
	more := ""
	if shown.more > 0 {
		more = fmt.Sprintf(", and of %d more", shown.more)
	}
	where := ""
	if f.field != "" {
		where = f.field + ": "
	}
	t.fail(at, f.path, "%sfails for the sample %s/%s%s: %s", where, SamplesFolder, shown.first, more, firstLine(f.why))
}

// anchor is where a route, or one of its steps, stands.
func (t *trials) anchor(path string) position {
	if at, ok := t.places[path]; ok {
		return at
	}
	return t.names[path]
}

func (t *trials) failed(s sample, path, field string, err error) {
	t.failedIn(s, path, "", field, err)
}

func (t *trials) failedIn(s sample, path, call, field string, err error) {
	f := trialFailure{path, call, field, err.Error()}
	if seen := t.failures[f]; seen != nil {
		seen.more++
		return
	}
	t.failures[f], t.order = &failedSamples{first: s.name}, append(t.order, f)
}

// sample takes one through its routes.
func (t *trials) sample(s sample, rules *broker.Rules, names outbox.Names) {
	event := stored(s.event, t.configuration.Tenant, names.Sources[s.source])
	targets, err := broker.Route(event, rules)
	var condition *broker.ConditionError
	if errors.As(err, &condition) {
		t.reached[condition.Route] = true
		t.failed(s, "routes."+condition.Route, "when", condition.Err)
		return
	}
	if len(targets) == 0 {
		t.Unrouted = append(t.Unrouted, s.name)
	}
	for _, target := range targets {
		i := slices.IndexFunc(t.configuration.Routes, func(r outbox.RouteConfig) bool { return r.Name == target.Route })
		t.route(s, event, &t.configuration.Routes[i])
	}
}

func stored(e *raffsyncv1.Event, tenant string, source int32) *outbox.Event {
	made := &outbox.Event{
		Tenant: tenant, Source: source, ID: e.GetId(), Type: e.GetType(), OrderingKey: e.GetOrderingKey(), Outlet: e.GetOutlet(),
		References: e.GetReferences(), ContentType: e.GetContentType(), Payload: e.GetBinaryData(), OccurredAt: e.GetOccurredAt().AsTime(),
	}
	if text := e.GetTextData(); text != "" {
		made.Payload = []byte(text)
	}
	return made
}

// route tries what a route says besides its condition, and its steps.
func (t *trials) route(s sample, event *outbox.Event, r *outbox.RouteConfig) {
	path := "routes." + r.Name
	t.reached[r.Name] = true
	if version, _ := broker.CompileVersion(r.Version); version != nil {
		_, ok, err := version(event)
		if err != nil {
			t.failed(s, path, "version", err)
		}
		t.part(path, "version", err == nil && !ok)
	}
	var worth *broker.ExposureError
	if err := broker.TryExposure(r.Exposure, event); errors.As(err, &worth) {
		t.failed(s, path, "exposure."+worth.Field, worth.Err)
	}
	connector := t.connectors[r.To]
	if connector == nil {
		return
	}
	if len(r.Steps) == 0 {
		t.step(s, event, path, "", connector, connectors.Step{Destination: r.To, Effect: event.ID})
	}
	for i, c := range r.Steps {
		at := element(path+".steps", i)
		step := connectors.Step{Destination: r.To, Index: i, Name: c.Name, Effect: event.ID}
		if effect, _ := broker.CompileEffect(c.Effect); effect != nil {
			var err error
			if step.Effect, err = effect(event); err != nil {
				t.failed(s, at, "effect", err)
				continue
			}
		}
		if planner, ok := connector.(connectors.Planner); ok {
			var err error
			if step.Plan, err = planner.Plan(connectors.StepConfig{Name: c.Name, Call: c.Call, Map: c.Map}); err != nil {
				continue // said already
			}
		}
		call := ""
		if c.Map == nil {
			call = "destinations." + r.To + "." + recipeKind + ".calls." + c.Call
		}
		t.step(s, event, at, call, connector, step)
	}
}

// sampleKey stands for an idempotency key.
var sampleKey = strings.Repeat("0a1b2c3d", 8)

// step tries one step, as the dispatcher would have it prepared. Call is where in the file
// what it sends is written, where that is not in the step.
func (t *trials) step(s sample, event *outbox.Event, path, call string, connector connectors.Destination, step connectors.Step) {
	at := event.OccurredAt
	if s.event.GetOccurredAt() == nil {
		at = time.Unix(0, 0).UTC() // that of acceptance, which there is none of
	}
	step.Event = &connectors.Event{
		Tenant: event.Tenant, Source: s.source, ID: event.ID, Type: event.Type, OrderingKey: event.OrderingKey, OccurredAt: at, AcceptedAt: at,
		Outlet: event.Outlet, References: event.References, ContentType: event.ContentType, Data: event.Payload,
	}
	step.Attempt, step.Key = 1, sampleKey
	step.Outlet = connectors.Outlet{Name: event.Outlet, Location: t.outlets[event.Outlet]}
	step.Lookup = func(string, string) (string, bool) { return "", false }
	trier, can := connector.(connectors.Trier)
	if !can {
		var refused *connectors.PrepareError
		_, err := connector.Prepare(step)
		if errors.As(err, &refused) && len(refused.Missing) > 0 {
			t.missed(s, step.Destination, refused.Missing)
		} else if err != nil {
			t.failed(s, path, "", err)
		}
		return
	}
	for _, trial := range trier.Try(context.Background(), step) {
		t.missed(s, step.Destination, trial.Missing)
		t.part(path, trial.Path, false)
		if _, written := t.names[call]; written || call == "" { // not by whoever wrote a recipe that ships
			for _, place := range trial.LeftOut {
				t.leftOut(path, trial.Path, place)
			}
		}
		if trial.Err != nil {
			t.failedIn(s, path, call, trial.Field, trial.Err)
		}
	}
}

// part counts that a part of a route was tried, and whether all of it was left out.
func (t *trials) part(path, part string, left bool) {
	t.parts[path+" "+part]++
	if left {
		t.leftOut(path, part, part)
	}
}

func (t *trials) leftOut(path, part, place string) {
	t.left[path+" "+part+"\x00"+path+": "+place]++
}

func (t *trials) missed(s sample, to string, all []connectors.Miss) {
	for _, m := range all {
		key := TriedLookUp{Destination: to, Table: m.Table, Value: m.Value}
		if !t.lookedUp[key] {
			t.lookedUp[key] = true
			t.LookUps = append(t.LookUps, TriedLookUp{to, m.Table, m.Value, s.name, m.Path})
		}
	}
}
