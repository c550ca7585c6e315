package recipe

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"raffsync/connectors"
	"raffsync/connectors/mapping"
)

// Try implements [connectors.Trier]: the call, what updates its effect, and what asks about
// either.
func (d *destination) Try(ctx context.Context, step connectors.Step) []connectors.Trial {
	p, err := d.plan(step)
	if err != nil {
		return []connectors.Trial{{Err: err}}
	}
	fresh, again := d.scope(&step), d.scope(&step)
	fresh.Unknown, again.Unknown = []string{"steps"}, []string{"steps", "existing"}
	t := &trier{ctx: ctx, again: again, known: step.Index == 0}
	t.call("", p.call, p.create, fresh)
	t.find("find.", p.call.find, fresh)
	if u := p.call.update; u != nil {
		t.known = false
		made := len(t.all)
		t.call(ofUpdate, u, p.update, again)
		t.all = append(t.all[:made], saidAlready(t.all[:made], t.all[made:])...)
		t.find(ofUpdate+"find.", u.find, again)
	}
	if step.Index == 0 && !slices.ContainsFunc(t.all, func(one connectors.Trial) bool { return one.Err != nil || len(one.Missing) > 0 }) {
		// Everything is known, so that it can be written, too.
		if _, err := d.rendered(p.call, p.create, &step); err != nil {
			t.failed("", err)
		}
	}
	return t.all
}

const ofUpdate = "update."

// saidAlready takes off an update what is so of the call that it was made of.
func saidAlready(made, updates []connectors.Trial) []connectors.Trial {
	for i := range updates {
		u := &updates[i]
		for _, m := range made {
			if u.Err != nil && m.Err != nil && u.Field == ofUpdate+m.Field && u.Err.Error() == m.Err.Error() {
				u.Err, u.Field = nil, ""
			}
			u.LeftOut = slices.DeleteFunc(u.LeftOut, func(place string) bool { return slices.Contains(m.LeftOut, strings.TrimPrefix(place, ofUpdate)) })
		}
	}
	return updates
}

// trier tries one part after the other.
type trier struct {
	ctx context.Context
	// again is the scope where the effect is there: what nothing but its receipt has is not
	// left out for good.
	again *mapping.Scope
	known bool // there is nothing that is not known
	all   []connectors.Trial
}

// call tries the parts of a call; before is what stands before their names.
func (t *trier) call(before string, c *call, template *mapping.Template, scope *mapping.Scope) {
	_, missing, err := c.target.render(t.ctx, scope)
	t.text(before+"url", missing, nil)
	if err != nil {
		t.failed(before, err)
	}
	for _, h := range c.headers.made {
		text, missing, err := h.text.Render(t.ctx, scope)
		if err == nil && t.known && len(missing) == 0 && !isHeaderValue(text) {
			err = errHeader
		}
		t.text(before+"headers."+h.name, missing, err)
	}
	if template == nil || c.encoding == asNothing {
		return
	}
	found := template.Check(t.ctx, mapping.Sample{Scope: scope})[0]
	one := connectors.Trial{Path: before + "map"}
	one.Missing = missesOf(one.Path, found.Missing)
	for _, place := range template.Check(t.ctx, mapping.Sample{Scope: t.again})[0].LeftOut {
		one.LeftOut = append(one.LeftOut, outputPath(one.Path, place))
	}
	if found.Err != nil {
		one.Field, one.Err = placed(before, &fault{"map", found.Err})
	}
	t.all = append(t.all, one)
}

// find tries a question, and what its answer is compared with.
func (t *trier) find(before string, f *find, scope *mapping.Scope) {
	if f == nil {
		return
	}
	t.call(before, f.call, f.template, scope)
	for _, w := range f.where {
		if _, _, err := w.text.Render(t.ctx, scope); err != nil { // nothing could be compared with it
			t.failed(before, &fault{"where." + w.name, err})
		}
	}
}

// text notes what came of a text that may be left out.
func (t *trier) text(path string, missing []mapping.Miss, err error) {
	one := connectors.Trial{Path: path, Missing: missesOf(path, missing)}
	var absent *mapping.AbsentError
	switch {
	case errors.As(err, &absent):
		one.LeftOut = []string{path}
	case err != nil:
		one.Err, one.Field = err, path
	}
	t.all = append(t.all, one)
}

func (t *trier) failed(before string, err error) {
	one := connectors.Trial{Path: before}
	one.Field, one.Err = placed(before, err)
	t.all = append(t.all, one)
}

// placed takes an error of a request apart: where, and why.
func placed(before string, err error) (field string, why error) {
	var f *fault
	if !errors.As(err, &f) {
		return before, err
	}
	var where *mapping.TemplateError
	if errors.As(err, &where) {
		return outputPath(before+f.field, where.Path), where.Err
	}
	return before + f.field, f.err
}

func missesOf(path string, all []mapping.Miss) (misses []connectors.Miss) {
	for _, m := range all {
		misses = append(misses, connectors.Miss{Table: m.Table, Value: m.Value, Path: outputPath(path, m.Path)})
	}
	return misses
}

var listPlace = regexp.MustCompile(`^([0-9]+|\*)$`)

// outputPath is a JSON pointer into what a map gives as people write it: lines[3].item.
func outputPath(path, pointer string) string {
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch {
		case token == "":
		case listPlace.MatchString(token):
			path += "[" + token + "]"
		default:
			path = below(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(token))
		}
	}
	return path
}
