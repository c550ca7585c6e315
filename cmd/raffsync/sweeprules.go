package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"raffsync/broker"
	"raffsync/outbox"
	"raffsync/outbox/escalate"
)

// sweepRules are what sweeps go by of each tenant's configuration, compiled once a version.
type sweepRules map[string]sweepRule

type sweepRule struct {
	version  int
	severity func(*outbox.ExceptionFacts) (severity, why string) // nil where it cannot be compiled
	routes   *broker.Rules
}

// load compiles what has changed.
func (s sweepRules) load(inForce []outbox.Applied) {
	for _, a := range inForce {
		if rule, known := s[a.Tenant]; known && rule.version == a.Version {
			continue
		}
		rule := sweepRule{version: a.Version}
		// apply refuses what cannot be compiled; what an older version has let through
		// changes nothing here.
		rule.severity, _ = compileSeverity(a.Severity)
		rule.routes, _, _ = broker.CompileRules(a.Configuration, a.Names)
		s[a.Tenant] = rule
	}
}

// Names and LeftOut make it an [outbox.Judge].
func (s sweepRules) Names(tenant string, source int32, eventType string) bool {
	return s[tenant].routes.Names(source, eventType)
}

// LeftOut says what the routes of today make of an event.
func (s sweepRules) LeftOut(e *outbox.Event) (bool, error) {
	targets, err := broker.Route(e, s[e.Tenant].routes)
	return err == nil && len(targets) == 0, err
}

// severities applies the rules of every tenant.
func (s sweepRules) severities(ctx context.Context, sweeper *outbox.Sweeper) error {
	for tenant, rule := range s {
		if rule.severity == nil {
			continue
		}
		if err := sweeper.Severities(ctx, tenant, rule.severity); err != nil {
			return err
		}
	}
	return nil
}

// compileSeverity makes a function of rules, of which the first that holds decides.
func compileSeverity(rules []outbox.SeverityConfig) (func(*outbox.ExceptionFacts) (severity, why string), error) {
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
	return func(f *outbox.ExceptionFacts) (severity, why string) {
		for i, r := range rules {
			if conditions[i] == nil || conditions[i].Holds(escalate.Facts{
				Class: f.Class, Destination: f.Destination, Source: f.Source, Severity: f.Default, Exposure: f.Exposure, Held: f.Held, Age: f.Age,
			}) {
				return r.Is, fmt.Sprintf("by rule %d: %s", i+1, cmp.Or(strings.Join(strings.Fields(r.When), " "), "always"))
			}
		}
		return "", ""
	}, nil
}
