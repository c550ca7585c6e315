package recipe

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"raffsync/connectors"
	"raffsync/connectors/mapping"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// fault is why a part of a request can't be made.
type fault struct {
	field string
	err   error
}

func (f *fault) Error() string { return f.field + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// missed are look-ups that found nothing.
type missed struct{ all []mapping.Miss }

func (*missed) Error() string { return "look-ups found nothing" }

// Prepare implements [connectors.Destination].
func (d *destination) Prepare(step connectors.Step) (connectors.Request, error) {
	p, err := d.plan(step)
	if err != nil {
		return nil, err
	}
	made, template := p.call, p.create
	if step.Existing != nil {
		if made, template = p.call.update, p.update; made == nil {
			return nil, unpreparable("update", "", fmt.Sprintf("the recipe does not say how what call %s made is updated", p.call.name))
		}
		if p.unrelated {
			return nil, unpreparable("update", "map", fmt.Sprintf("the step's map does not read existing, so that call %s would add its lines to those that are there", p.call.name))
		}
	}
	r, err := d.rendered(made, template, &step)
	if err != nil {
		return nil, refused(err)
	}
	if r.content, err = d.content(p, r, &step); err != nil {
		return nil, refused(err)
	}
	r.step.Lookup = nil
	return &request{made.name, r}, nil
}

// plan is what the route says of the step, or the only call.
func (d *destination) plan(step connectors.Step) (*plan, error) {
	switch p := step.Plan.(type) {
	case nil:
		if d.only == nil {
			return nil, unpreparable("call", "", "the route names no step, and the recipe has several calls; expected steps with call, one of "+d.callNames())
		}
		return d.only, nil
	case *plan:
		return p, nil
	}
	return nil, unpreparable("call", "", fmt.Sprintf("the step's plan is a %T, which this destination did not make", step.Plan))
}

func refused(err error) error {
	var none *missed
	if errors.As(err, &none) {
		e := &connectors.PrepareError{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNMAPPED, Code: "look-up", Message: "the mapping tables lack values"}
		for _, m := range none.all {
			e.Missing = append(e.Missing, connectors.Miss{Table: m.Table, Value: m.Value, Path: m.Path})
		}
		e.Kind = e.Missing[0].Kind()
		return e
	}
	var f *fault
	if !errors.As(err, &f) {
		return unpreparable("map", "", err.Error())
	}
	field, message := f.field, f.err.Error()
	var where *mapping.TemplateError
	if errors.As(err, &where) {
		field, message = pointed(field, nil, where.Path), where.Err.Error()
	}
	return unpreparable("map", field, field+": "+message)
}

func unpreparable(code, field, message string) error {
	return &connectors.PrepareError{
		Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION,
		Code: code, Field: field, Message: message,
	}
}

// scope is what expressions see of a step.
func (d *destination) scope(step *connectors.Step) *mapping.Scope {
	e := step.Event
	s := &mapping.Scope{
		Event: &mapping.Event{ID: e.ID, Type: e.Type, OrderingKey: e.OrderingKey, Outlet: e.Outlet, References: e.References, OccurredAt: e.OccurredAt},
		Body:  mapping.NewBody(e.Data), Outlet: mapping.Outlet{Name: step.Outlet.Name, Location: step.Outlet.Location},
		Tenant: e.Tenant, Destination: step.Destination, Effect: step.Effect, Lookup: step.Lookup,
		Variables: map[string]any{"settings": d.visible, "request": map[string]string{"key": d.key.of(step.Key)}},
	}
	if len(step.Receipts) > 0 {
		s.Steps = make(map[string]mapping.Receipt, len(step.Receipts))
		for name, r := range step.Receipts {
			s.Steps[name] = mapping.Receipt(r)
		}
	}
	if step.Existing != nil {
		existing := mapping.Receipt(*step.Existing)
		s.Existing = &existing
	}
	return s
}

// rendered makes a request of a step. All that its look-ups missed is told at once.
func (d *destination) rendered(c *call, template *mapping.Template, step *connectors.Step) (*rendered, error) {
	ctx, scope := context.Background(), d.scope(step)
	r := &rendered{call: c, step: *step, header: c.headers.plain.Clone()}
	path, missing, err := c.target.render(ctx, scope)
	if err != nil {
		return nil, err
	}
	r.target = path
	for _, h := range c.headers.made {
		text, none, err := h.text.Render(ctx, scope)
		var absent *mapping.AbsentError
		switch {
		case errors.As(err, &absent):
			continue
		case err != nil:
			return nil, &fault{"headers." + h.name, err}
		case !isHeaderValue(text):
			return nil, &fault{"headers." + h.name, errHeader}
		}
		missing = append(missing, none...)
		r.header.Set(h.name, text)
	}
	var value []byte
	if template != nil && c.encoding != asNothing {
		result, err := template.Render(ctx, scope)
		if err != nil {
			return nil, &fault{"map", err}
		}
		missing = append(missing, result.Missing...)
		if value, err = result.JSON(); err != nil {
			return nil, &fault{"map", err}
		}
	}
	if len(missing) > 0 {
		return nil, &missed{missing}
	}
	if r.body, err = c.encode(value); err != nil {
		return nil, &fault{"map", err}
	}
	d.dress(r, step)
	r.content = slices.Concat([]byte(r.target), []byte{'\n'}, value)
	return r, nil
}

var errHeader = errors.New("what the event gives is not fit for a header: it holds control characters, or none of ASCII")

// dress adds what every request has.
func (d *destination) dress(r *rendered, step *connectors.Step) {
	r.header.Set("User-Agent", userAgent)
	if r.header.Get("Accept") == "" {
		r.header.Set("Accept", "application/json")
	}
	if kind := contentTypes[r.call.encoding]; kind != "" && r.header.Get("Content-Type") == "" {
		r.header.Set("Content-Type", kind)
	}
	if d.key.header != "" && r.call.effect() && step.Key != "" {
		r.header.Set(d.key.header, d.key.of(step.Key))
	}
}

// content is what the effect would be: what is rendered already, unless that depends on
// the attempt's key, or on the effect's being there.
func (d *destination) content(p *plan, r *rendered, step *connectors.Step) ([]byte, error) {
	if step.Existing == nil && !p.keyed {
		return r.content, nil
	}
	blank := *step
	blank.Existing, blank.Key = nil, ""
	base, err := d.rendered(p.call, p.create, &blank)
	if err != nil {
		return nil, err
	}
	return base.content, nil
}

// of is the key in the platform's form.
func (k *keyForm) of(key string) string {
	switch {
	case k.format == "uuid" && len(key) >= 32:
		return key[:8] + "-" + key[8:12] + "-" + key[12:16] + "-" + key[16:20] + "-" + key[20:32]
	case k.length > 0 && len(key) > k.length:
		key = key[:k.length]
	}
	if k.format == "quoted" && key != "" {
		return `"` + key + `"`
	}
	return key
}
