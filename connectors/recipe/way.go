package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// way is one of the ways in which a platform lets requests be authorised.
type way struct {
	kind     string
	settings json.RawMessage
}

// readWays reads one way, or a list of them.
func readWays(p *problems, path string, raw json.RawMessage, d *document) {
	const takes = "a mapping with a kind, or a list of them"
	if raw[0] != '[' {
		if _, ok := p.mapping(path, raw, takes); ok {
			d.auth = []way{{kindOf(raw), raw}}
		}
		return
	}
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil || len(all) == 0 {
		p.fail(path, "expected %s", takes)
	}
	for i, one := range all {
		at := fmt.Sprintf("%s[%d]", path, i)
		if _, ok := p.mapping(at, one, "a mapping with a kind"); !ok {
			continue
		}
		kind := kindOf(one)
		switch {
		case kind == "":
			p.fail(at, "kind is missing; expected it, since users pick a way by it")
		case slices.ContainsFunc(d.auth, func(w way) bool { return w.kind == kind }):
			p.fail(at, "there is a way of kind %s before; expected another kind, since users pick a way by it", cut(kind))
		}
		d.auth = append(d.auth, way{kind, one})
	}
}

func kindOf(settings json.RawMessage) string {
	var way struct{ Kind string }
	_ = json.Unmarshal(settings, &way) // package auth says what is wrong with it
	return way.Kind
}

// way is the one that a user's settings go on from. Where the recipe has several and none
// of the user's kind, the user's stand alone.
func (d *document) way(given json.RawMessage) json.RawMessage {
	if len(d.auth) == 0 {
		return nil
	}
	kind := ""
	if given != nil {
		kind = kindOf(given)
	}
	if len(d.auth) == 1 || kind == "" {
		return d.auth[0].settings
	}
	for _, w := range d.auth {
		if w.kind == kind {
			return w.settings
		}
	}
	return nil
}

// overlay is a JSON mapping with the entries of another added, or in place of its own.
func overlay(under, over json.RawMessage) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for _, one := range []json.RawMessage{under, over} {
		if one == nil {
			continue
		}
		if json.Unmarshal(one, &all) != nil {
			return nil, errors.New("expected a mapping")
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return json.Marshal(all)
}
