package escalate

import (
	"errors"
	"fmt"

	"raffsync/outbox"
)

// Policies are those of one configuration, compiled.
type Policies struct {
	all     []policy
	outlets map[string]outbox.OutletConfig
}

type policy struct {
	outbox.EscalationConfig
	when *Condition // nil: always
}

// CompilePolicies compiles the policies of a configuration. Its error joins a
// [*PolicyError] for each fault.
func CompilePolicies(c *outbox.Configuration) (*Policies, error) {
	p := &Policies{outlets: make(map[string]outbox.OutletConfig)}
	var faults []error
	for _, o := range c.Outlets {
		p.outlets[o.Name] = o
	}
	for i, e := range c.Escalation {
		fail := func(field string, err error) { faults = append(faults, &PolicyError{i, field, err}) }
		one := policy{EscalationConfig: e}
		var err error
		if e.When != "" {
			if one.when, err = CompileCondition(e.When); err != nil {
				fail("when", err)
			}
		}
		if e.IgnoreClockIf != "" {
			if _, err := CompileCondition(e.IgnoreClockIf); err != nil {
				fail("ignore_clock_if", err)
			}
		}
		if e.Quiet != "" {
			if _, err := ParseHours(quietZone(e, ""), e.Quiet, nil); err != nil {
				fail("quiet", err)
			}
		}
		p.all = append(p.all, one)
	}
	return p, errors.Join(faults...)
}

// PolicyError is one fault of a policy.
type PolicyError struct {
	Policy int    // from 0
	Field  string // "when", "ignore_clock_if", "quiet"
	Err    error
}

func (e *PolicyError) Error() string {
	return fmt.Sprintf("escalation[%d].%s: %s", e.Policy, e.Field, e.Err)
}

func (e *PolicyError) Unwrap() error { return e.Err }

// For is the policy of an exception: the first that matches, made out for its outlet. One
// without levels tells nobody. The number is the policy's place, from 0; -1 for none.
func (p *Policies) For(f Facts) (*Policy, int) {
	if f.Class == outbox.ClassNoticeFailed || outbox.IsNoticeDestination(f.Destination) {
		return &Policy{Levels: []Level{}}, -1 // telling of what could not be told would fail too
	}
	for i, one := range p.all {
		if one.when == nil || one.when.Holds(f) {
			return p.copied(one, f.Outlet), i
		}
	}
	return &Policy{Levels: []Level{}}, -1
}

// copied is the policy as it is kept with an exception of an outlet.
func (p *Policies) copied(one policy, outlet string) *Policy {
	o := p.outlets[outlet]
	kept := &Policy{Levels: []Level{}, IgnoreClockIf: one.IgnoreClockIf, AcknowledgeFor: one.AcknowledgeFor, LinkValid: one.LinkValid}
	// What cannot be read here was refused where it was configured: time counts always.
	if one.Clock == outbox.ClockOutletHours && o.Open != "" && o.Timezone != "" {
		kept.Hours, _ = ParseHours(o.Timezone, o.Open, o.Holidays)
	}
	if one.Quiet != "" {
		kept.Quiet, _ = ParseHours(quietZone(one.EscalationConfig, o.Timezone), one.Quiet, nil)
	}
	for _, level := range one.Levels {
		team := level.Team
		if team == "" {
			team = o.Team
		}
		if team != "" {
			kept.Levels = append(kept.Levels, Level{Team: team, After: level.After, Repeat: level.Repeat})
		}
	}
	return kept
}

// quietZone is whose clocks quiet hours go by.
func quietZone(e outbox.EscalationConfig, outlet string) string {
	switch {
	case outlet != "":
		return outlet
	case e.QuietTimezone != "":
		return e.QuietTimezone
	}
	return "UTC"
}
