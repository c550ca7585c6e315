package rules

import (
	"net/http"
	"strconv"

	"github.com/theory/jsonpath"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	// MaxBody is how many bytes of a body are looked at. Platforms answer a document of a
	// thousand lines with all of them, and say only behind them whether they took it.
	MaxBody = 256 << 10
	// maxCode bounds code and field, in characters: exceptions group by them.
	maxCode = 80
	// maxReceipt bounds a receipt's id, in bytes. A longer one is left out: a part of
	// it would be of another thing.
	maxReceipt = 500
)

const (
	delivered    = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	unknown      = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	unclassified = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
)

// Answer is what a platform said. It is not changed.
type Answer struct {
	Status int
	Header http.Header // by canonical name
	Body   []byte
	// Cut says that Body is not all of the body: there was more than MaxBody, or it
	// broke off.
	Cut bool
}

// brokeOff tells a body that did not come from one of which enough did.
func (a *Answer) brokeOff() bool { return a.Cut && len(a.Body) < MaxBody }

// Verdict is what an answer means.
type Verdict struct {
	Kind raffsyncv1.OutcomeKind
	// Rule is the name of the rule that decided, or "status " and the number where
	// none did. Reason is one line for people.
	Rule, Reason string
	// Code and Field are the platform's own, at most 80 characters each.
	Code, Field string
	// Receipt is what the platform calls the thing that it made, at most 500 bytes.
	Receipt string
	// RetryAfter is what the rule found where it says that the platform's wish stands:
	// seconds or an HTTP date, as in the header of that name.
	RetryAfter string
}

// Set is a compiled list of rules.
type Set struct {
	rules []rule
	// own is how many of them, at the beginning, are the destination's.
	own     int
	shipped *Shipped
	// paths are where those are written.
	paths []string
}

// Shipped are the rules that come after the destination's own; nil where there are none.
func (s *Set) Shipped() *Shipped { return s.shipped }

// rule is a compiled rule. Conditions that are absent hold.
type rule struct {
	name, reason string
	kind         raffsyncv1.OutcomeKind
	status       *statuses
	headers      []headerCondition
	body         []bodyCondition
	// idempotent is what the destination must be declared as.
	idempotent *bool

	code, field, receipt, retryAfter place
}

type headerCondition struct {
	name string // canonical
	test
}

type bodyCondition struct {
	path *jsonpath.Path
	test
}

// Classify says what an answer means.
func (s *Set) Classify(a Answer) Verdict {
	v, _ := s.classify(a)
	return v
}

// classify also says which rule decided, -1 where none did.
func (s *Set) classify(a Answer) (Verdict, int) {
	in := inspected{Answer: a}
	undecided := false
	for i := range s.rules {
		r := &s.rules[i]
		if !r.takes(&in) {
			continue
		}
		if !r.sees(&in) {
			undecided = undecided || a.brokeOff()
			continue
		}
		if undecided && r.kind == delivered {
			return Verdict{Kind: unknown, Rule: "answer broke off", Reason: "the answer broke off before what a rule looks for in it"}, -1
		}
		return r.verdict(&in), i
	}
	v := Verdict{Kind: unclassified, Rule: "status " + strconv.Itoa(a.Status), Reason: "no rule knows this answer"}
	v.Code, v.Field = in.usual()
	return v, -1
}

// takes looks at status and headers.
func (r *rule) takes(in *inspected) bool {
	if r.status != nil && !r.status.has(in.Status) {
		return false
	}
	for i := range r.headers {
		if !r.headers[i].holdsOfAny(in.Header[r.headers[i].name]) {
			return false
		}
	}
	return true
}

func (t *test) holdsOfAny(values []string) bool {
	if t.absent {
		return len(values) == 0
	}
	for _, value := range values {
		if t.holds(clipped(value), true) {
			return true
		}
	}
	return false
}

// sees looks into the body.
func (r *rule) sees(in *inspected) bool {
	for i := range r.body {
		if !r.body[i].holdsIn(in) {
			return false
		}
	}
	return true
}

func (c *bodyCondition) holdsIn(in *inspected) bool {
	exists := false
	if document := in.document(); document != nil {
		for _, node := range c.path.Select(document) {
			if node == nil {
				continue
			}
			exists = true
			if text, single := Written(node); !c.absent && c.holds(text, single) {
				return true
			}
		}
	}
	return c.absent && !exists && !in.Cut
}

func (r *rule) verdict(in *inspected) Verdict {
	v := Verdict{Kind: r.kind, Rule: r.name, Reason: r.reason}
	if r.kind != delivered {
		v.Code, v.Field = in.usualUnless(r.code, r.field)
	}
	if r.receipt != (place{}) || r.kind == delivered {
		v.Receipt = in.receipt(r.receipt)
	}
	v.RetryAfter = capped(r.retryAfter.find(in))
	return v
}
