package rules

import (
	"fmt"
	"strconv"
)

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// covering says which earlier rules take everything that r would, where that is
// provable; otherwise it is empty.
func covering(earlier []rule, r *rule) string {
	var taken statuses
	for i := range earlier {
		o := &earlier[i]
		if r.implies(o) {
			return fmt.Sprintf("%q takes everything that it would", o.name)
		}
		// What looks at nothing but the status takes it from all that come later.
		if o.onlyStatus() && (o.idempotent == nil || r.idempotent != nil && *o.idempotent == *r.idempotent) {
			taken.union(o.statuses())
		}
	}
	if r.statuses().within(&taken) {
		return "earlier rules take each of its statuses"
	}
	return ""
}

func (r *rule) statuses() *statuses {
	if r.status == nil {
		return everyStatus
	}
	return r.status
}

func (r *rule) onlyStatus() bool { return len(r.headers)+len(r.body) == 0 }

// implies tells whether, provably, o takes whatever r takes.
func (r *rule) implies(o *rule) bool {
	if !r.statuses().within(o.statuses()) {
		return false
	}
	if o.idempotent != nil && (r.idempotent == nil || *r.idempotent != *o.idempotent) {
		return false
	}
	for _, c := range o.headers {
		if !r.impliesHeader(c) {
			return false
		}
	}
	for _, c := range o.body {
		if !r.impliesBody(c) {
			return false
		}
	}
	return true
}

func (r *rule) impliesHeader(o headerCondition) bool {
	for _, c := range r.headers {
		if c.name == o.name && c.implies(&o.test) {
			return true
		}
	}
	return false
}

func (r *rule) impliesBody(o bodyCondition) bool {
	for _, c := range r.body {
		if c.path.String() == o.path.String() && c.implies(&o.test) {
			return true
		}
	}
	return false
}

var success = func() *statuses {
	var s statuses
	s.add(200, 299)
	return &s
}()

// swallows tells whether no answer is a success any more behind r: it takes the whole
// of 2xx, and nothing before it makes any of that DELIVERED.
func swallows(earlier []rule, r *rule) bool {
	if r.kind == delivered || !r.onlyStatus() || !success.within(r.statuses()) {
		return false
	}
	for i := range earlier {
		if earlier[i].kind == delivered && earlier[i].statuses().meets(success) {
			return false
		}
	}
	return true
}
