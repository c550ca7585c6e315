package outbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Cause groups deliveries into one exception: never by message text.
type Cause struct {
	Class             string
	Rule, Code, Field string
}

// RuleLookUp is the rule of every cause that is a look-up without an answer. Its code is
// the value that was looked up, its field the mapping table.
const RuleLookUp = "look-up"

// Missed is what the look-ups of one Prepare did not find. The delivery hangs on an
// exception for each distinct (class, table, value), at most [MostCauses] of them, and is
// prepared again when all of these have an answer.
type Missed struct {
	// Version of the tenant's mappings that were asked, as it was before the asking.
	Version int64
	LookUps []LookUp
}

// LookUp is one of them.
type LookUp struct {
	Class, Table, Value string
	Path                string // where it was asked for, for people
}

// MostCauses is on how many causes one delivery hangs at a time. One that misses more
// finds out about the others when these are solved.
const MostCauses = 100

// longestCause is the most bytes of each part of a cause: together they fit the index
// over causes, whatever a platform wrote into them.
const longestCause = 200

// longestLookUp is the most bytes of a value that an entry of a mapping table can have.
const longestLookUp = 500

// cause is what groups deliveries into one exception.
type cause struct {
	tenant      string
	destination int32
	Cause
	// lookedUp is the value in full, where isLookUp; "" where no entry can be that.
	lookedUp string
	isLookUp bool
}

// compare gives the one order in which everybody locks exceptions: that of [lockOrder].
func (c *cause) compare(o *cause) int {
	return cmp.Or(cmp.Compare(c.tenant, o.tenant), cmp.Compare(c.destination, o.destination), cmp.Compare(c.Class, o.Class),
		cmp.Compare(c.Rule, o.Rule), cmp.Compare(c.Code, o.Code), cmp.Compare(c.Field, o.Field))
}

// lockOrder is [cause.compare] for statements; nothing with a source is locked beside
// others.
const lockOrder = `tenant, destination, class, rule, code, field, id`

// causesOf are what holds the delivery from now on, each with its words for people.
func causesOf(t *Transition) (causes []cause, samples []string) {
	if t.Missed == nil {
		c := t.Cause
		return []cause{{tenant: t.Tenant, destination: t.Destination, Cause: Cause{
			Class: truncated(c.Class, longestCause), Rule: truncated(c.Rule, longestCause),
			Code: truncated(c.Code, longestCause), Field: truncated(c.Field, longestCause),
		}}}, []string{storable(t.Reason)}
	}
	seen := make(map[cause]bool, len(t.Missed.LookUps))
	for _, l := range t.Missed.LookUps {
		c := l.cause(t.Tenant, t.Destination)
		if seen[c] {
			continue
		}
		if len(causes) == MostCauses {
			break
		}
		seen[c] = true
		causes, samples = append(causes, c), append(samples, storable(l.String()))
	}
	return causes, samples
}

func (l LookUp) cause(tenant string, destination int32) cause {
	c := cause{
		tenant: tenant, destination: destination, isLookUp: true,
		Cause: Cause{Class: l.Class, Rule: RuleLookUp, Code: causeOfValue(l.Value), Field: truncated(l.Table, longestCause)},
	}
	if len(l.Value) <= longestLookUp && truncated(l.Value, longestLookUp) == l.Value {
		c.lookedUp = l.Value
	}
	return c
}

// causeOfValue is a value as a part of a cause. One that does not fit ends in a hash of
// the whole, so that two that begin alike are two causes.
func causeOfValue(value string) string {
	fits := truncated(value, longestCause)
	if fits == value {
		return value
	}
	hash := sha256.Sum256([]byte(value))
	suffix := "…" + hex.EncodeToString(hash[:8])
	return truncated(value, longestCause-len(suffix)) + suffix
}

// String says what is missing, for people.
func (l LookUp) String() string {
	text := fmt.Sprintf("the mapping table %s has nothing for %q", l.Table, truncated(l.Value, longestCause))
	if l.Path != "" {
		text += ", which " + l.Path + " asks for"
	}
	return text
}
