package recipe

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/theory/jsonpath"

	"raffsync/connectors"
	"raffsync/connectors/mapping"
	"raffsync/connectors/outcome"
	"raffsync/connectors/rules"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// find is the question whether an effect is there.
type find struct {
	*call
	list  *jsonpath.Path // of which the thing is one; nil: the answer is the thing
	where []condition
	// says: it has a rule for what a found thing looks like; proves: one for what proves
	// absence.
	says, proves bool
	// whole knows an answer that has all of the list; nil: each has.
	whole *rules.Set
}

// condition is what a thing must hold at a path.
type condition struct {
	path *jsonpath.Path
	text *mapping.Text
	name string
}

// Names of the rules that a find is made of.
const (
	ruleFound  = "found"
	ruleAbsent = "absent"
	ruleWhole  = "whole"
)

func (c *compiler) find(d *findDocument, of *call) *find {
	f := &find{call: c.request(&d.callDocument)}
	f.question, f.rules = true, c.findRules(d)
	f.receipt = of.receipt
	if d.receipt != nil {
		f.receipt = c.receipt(below(d.path, "receipt"), d.receipt)
		if d.receipt.url == "" {
			f.receipt.url = of.receipt.url
		}
	}
	f.says, f.proves = d.found != nil, d.absent != nil
	if d.items != "" {
		// The list must be there for nothing in it to prove anything.
		list, ends := strings.CutSuffix(d.items, "[*]")
		parsed, err := rules.ParsePath(list)
		switch {
		case !ends:
			c.fail(below(d.path, "items"), "expected a path that ends with [*], as $.data[*]")
		case err != nil:
			c.fail(below(d.path, "items"), "%s", err)
		}
		f.list = parsed
		if len(d.where) == 0 {
			c.fail(below(d.path, "where"), "is missing; expected what tells the one thing from the others in the list")
		}
	}
	switch {
	case d.whole != nil && d.items == "":
		c.fail(below(d.path, "whole"), "is of a list, and there is none; expected items")
	case d.whole != nil:
		f.whole = c.whole(d)
	}
	if !f.proves && d.items == "" {
		c.fail(d.path, "says nothing of what proves absence; expected absent (as {status: 404}), or items and where")
	}
	for _, name := range slices.Sorted(maps.Keys(d.where)) {
		at := below(below(d.path, "where"), name)
		parsed, err := rules.ParsePath(name)
		if err != nil {
			c.fail(at, "%s", err)
			continue
		}
		f.where = append(f.where, condition{parsed, c.text(at, d.where[name], c.env.calls), name})
	}
	if !f.narrow(d) {
		c.fail(d.path, "asks for nothing in particular; expected ${reference(30)}, or another name of the effect, in its url, query, map or where")
	}
	if tables(d) {
		c.fail(d.path, "looks something up; expected what was sent alone, since the tables may say something else by now")
	}
	return f
}

// narrow tells whether the question depends on the effect.
func (f *find) narrow(d *findDocument) bool {
	return d.anywhere(func(text string) bool { return reads(text, ofEvent) })
}

func tables(d *findDocument) bool {
	return d.anywhere(func(text string) bool { return reads(text, ofTables) })
}

func (d *findDocument) anywhere(holds func(string) bool) bool {
	for _, texts := range []map[string]string{d.query, d.headers, d.where} {
		for _, text := range texts {
			if holds(text) {
				return true
			}
		}
	}
	if d.mapping != nil {
		var texts func(any) bool
		texts = func(v any) bool {
			switch v := v.(type) {
			case string:
				return holds(v)
			case []any:
				return slices.ContainsFunc(v, texts)
			case map[string]any:
				return slices.ContainsFunc(slices.Collect(maps.Values(v)), texts)
			}
			return false
		}
		if doc, err := tree(d.mapping); err == nil && texts(doc) {
			return true
		}
	}
	return holds(d.url)
}

// Reconcile implements [connectors.Reconciler].
func (d *askable) Reconcile(ctx context.Context, prepared connectors.Request) connectors.Reconciliation {
	r, ok := prepared.(*request)
	if !ok {
		return connectors.Reconciliation{Outcome: outcome.Foreign(prepared)}
	}
	f := r.call.find
	switch {
	case f == nil && r.call.repeatable:
		return connectors.Reconciliation{Finding: connectors.Absent, Outcome: connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "repeatable",
			Reason: "nobody need be asked: the recipe says that to make it twice comes to the same as once",
		}}
	case f == nil:
		return connectors.Reconciliation{Outcome: connectors.Outcome{
			Kind: poison, Rule: "no question", Reason: "the recipe does not say how to ask about this call",
		}}
	}
	step := r.step
	q, err := d.rendered(f.call, f.template, &step)
	if err != nil {
		return connectors.Reconciliation{Outcome: connectors.Outcome{Kind: poison, Rule: "question not valid", Reason: "no question can be made of the event: " + err.Error()}}
	}
	x := d.exchange(ctx, q)
	if x.response == nil {
		return connectors.Reconciliation{Outcome: x.Outcome}
	}
	return d.understand(ctx, f, q, &x)
}

// understand makes of an answer to a question what it proves.
func (d *askable) understand(ctx context.Context, f *find, q *rendered, x *exchanged) connectors.Reconciliation {
	status := x.response.Status
	switch {
	case x.Kind == delivered && (!f.says || x.Rule == ruleFound):
	case x.Kind == delivered:
		return inconclusive(status, "the answer is not what a found thing looks like")
	case x.Rule == ruleAbsent && f.proves:
		return proof(connectors.Absent, x.Outcome, "the platform does not have it")
	default:
		return connectors.Reconciliation{Outcome: x.Outcome}
	}
	items := []any{rules.Document(x.response.Body, x.response.Truncated)}
	if f.list != nil {
		whole := false
		if items, whole = f.itemsOf(items[0]); !whole || x.response.Truncated {
			return inconclusive(status, "the list is not there, or did not come whole")
		}
	}
	scope := d.scope(&q.step)
	for _, item := range items {
		is, err := f.is(ctx, item, scope)
		if err != nil {
			return connectors.Reconciliation{Outcome: connectors.Outcome{Kind: poison, Rule: "question not valid", Reason: err.Error(), Status: status}}
		}
		if is {
			f.receipt.fill(x, d.reading(ctx, item, x.response.Header))
			return proof(connectors.Found, x.Outcome, "the platform has it")
		}
	}
	if f.list == nil {
		return inconclusive(status, "the platform answers about something else")
	}
	if f.whole != nil && f.whole.Classify(outcome.Answer(x.response)).Rule != ruleWhole {
		return inconclusive(status, "the list did not come whole, and what came does not have it")
	}
	return proof(connectors.Absent, connectors.Outcome{
		Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE, Rule: ruleAbsent, Status: status,
	}, "the platform's list does not have it")
}

// itemsOf are the things in the list; false where there is no list.
func (f *find) itemsOf(document any) (items []any, is bool) {
	if document == nil {
		return nil, false
	}
	for _, node := range f.list.Select(document) {
		list, ok := node.([]any)
		if !ok {
			return nil, false
		}
		items, is = append(items, list...), true
	}
	return items, is
}

func proof(finding connectors.Finding, o connectors.Outcome, reason string) connectors.Reconciliation {
	o.Reason, o.Excerpt, o.Code, o.Field = outcome.StatusText(o.Status)+": "+reason, "", "", ""
	return connectors.Reconciliation{Finding: finding, Outcome: o}
}

func inconclusive(status int, reason string) connectors.Reconciliation {
	return proof(connectors.CannotTell, connectors.Outcome{
		Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "cannot tell", Status: status,
	}, reason)
}

// is tells whether an item is what was asked for.
func (f *find) is(ctx context.Context, item any, scope *mapping.Scope) (bool, error) {
	for _, w := range f.where {
		want, _, err := w.text.Render(ctx, scope)
		if err != nil {
			return false, fmt.Errorf("where %s: nothing can be compared with it", w.name)
		}
		holds := false
		if item != nil {
			for _, node := range w.path.Select(item) {
				got, single := rules.Written(node)
				holds = holds || single && got == want
			}
		}
		if !holds {
			return false, nil
		}
	}
	return true, nil
}
