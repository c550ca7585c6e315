package recipe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"raffsync/connectors/rules"
)

// findRules puts found and absent before the recipe's rules.
func (c *compiler) findRules(d *findDocument) *rules.Set {
	var list []json.RawMessage
	var written []string
	for _, one := range []struct {
		name, kind string
		condition  json.RawMessage
	}{{ruleFound, "DELIVERED", d.found}, {ruleAbsent, "REFERENCE_GONE", d.absent}} {
		if one.condition == nil {
			continue
		}
		at := below(d.path, one.name)
		rule, ok := c.condition(at, one.name, one.kind, one.condition)
		if !ok {
			return nil
		}
		written, list = append(written, at), append(list, rule)
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		c.fail(d.path, "%s", err)
		return nil
	}
	if list == nil {
		encoded = nil
	}
	before := len(c.errs)
	set := c.set([]rules.Layer{{Path: d.path, Rules: encoded}, {Path: below(c.d.path, "rules"), Rules: c.d.rules}})
	for i, at := range written {
		c.replace(before, fmt.Sprintf("%s[%d]", d.path, i), at)
	}
	return set
}

// whole compiles the condition of an answer that has all of the list.
func (c *compiler) whole(d *findDocument) *rules.Set {
	at := below(d.path, ruleWhole)
	rule, ok := c.condition(at, ruleWhole, "DELIVERED", d.whole)
	if !ok {
		return nil
	}
	set, err := rules.CompileLayers([]rules.Layer{{Path: at, Rules: fmt.Appendf(nil, "[%s]", rule)}}, nil, c.traits.Idempotent)
	before := len(c.errs)
	c.addRules(err)
	c.replace(before, at+"[0]", at)
	return set
}

// condition is a rule that has a condition, as JSON.
func (c *compiler) condition(at, name, kind string, raw json.RawMessage) (json.RawMessage, bool) {
	found, ok := c.mapping(at, raw, "a mapping with status, headers, body")
	if !ok {
		return nil, false
	}
	for field := range found {
		if !slices.Contains([]string{"status", "headers", "body"}, field) {
			c.fail(below(at, field), "there is no such field; expected one of status, headers, body")
			return nil, false
		}
	}
	rule := bytes.TrimSuffix(bytes.TrimSpace(raw), []byte("}"))
	separator := ","
	if len(found) == 0 {
		separator = ""
	}
	return fmt.Appendf(nil, `%s%s"name":%q,"kind":%q}`, rule, separator, name, kind), true
}

// replace has errors from the index on begin their path with another one: what a rule is
// made of is no list to its author.
func (c *compiler) replace(from int, path, by string) {
	for _, err := range c.errs[from:] {
		if wrong, ok := err.(*Error); ok {
			if rest, is := strings.CutPrefix(wrong.Path, path); is {
				wrong.Path = by + rest
			}
		}
	}
}
