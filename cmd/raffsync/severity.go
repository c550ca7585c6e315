package main

import (
	"context"

	"raffsync/outbox"
	"raffsync/outbox/escalate"
)

// severities are the rules of each tenant, compiled once a version.
type severities map[string]severityRules

type severityRules struct {
	version int
	of      func(*outbox.ExceptionFacts) string
}

// sweep applies the rules of every tenant. One whose rules cannot be compiled, which apply
// would have refused, keeps the severities that there are.
func (s severities) sweep(ctx context.Context, sweeper *outbox.Sweeper, inForce []outbox.Applied) error {
	for _, a := range inForce {
		rules, known := s[a.Tenant]
		if !known || rules.version != a.Version {
			rules = severityRules{version: a.Version}
			rules.of, _ = compileSeverity(a.Severity)
			s[a.Tenant] = rules
		}
		if rules.of == nil {
			continue
		}
		if err := sweeper.Severities(ctx, a.Tenant, rules.of); err != nil {
			return err
		}
	}
	return nil
}

// compileSeverity makes a function of rules, of which the first that holds decides.
func compileSeverity(rules []outbox.SeverityConfig) (func(*outbox.ExceptionFacts) string, error) {
	conditions := make([]*escalate.Condition, len(rules))
	for i, r := range rules {
		if r.When == "" {
			continue
		}
		var err error
		if conditions[i], err = escalate.CompileCondition(r.When); err != nil {
			return nil, err
		}
	}
	return func(f *outbox.ExceptionFacts) string {
		for i, r := range rules {
			if conditions[i] == nil || conditions[i].Holds(escalate.Facts{
				Class: f.Class, Destination: f.Destination, Source: f.Source, Severity: f.Default, Exposure: f.Exposure, Held: f.Held, Age: f.Age,
			}) {
				return r.Is
			}
		}
		return ""
	}, nil
}
