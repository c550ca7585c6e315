package main

import (
	"cmp"
	"errors"
	"fmt"

	"raffsync/broker"
	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// errUnplanned stands for a plan that no destination has made: the step is not sent.
var errUnplanned = errors.New("the destination cannot be used as its route has it, and has planned nothing for the step")

// stepsOf are a route's steps without their plans, which are their destination's to make.
func stepsOf(configured []outbox.StepConfig) (steps []dispatch.Step, err error) {
	for _, c := range configured {
		effect, invalid := broker.CompileEffect(c.Effect)
		err = cmp.Or(err, invalid)
		steps = append(steps, dispatch.Step{Name: c.Name, Plan: errUnplanned, Effect: effect, IfExists: c.IfExists})
	}
	return steps, err
}

// planSteps has a destination plan the steps of the routes that lead to it.
func (s *share) planSteps(d *dispatch.Destination, routes []outbox.RouteConfig) error {
	if s.problems[wholeTenant] != (trouble{}) {
		return nil // its routes go on as they were before, or rest
	}
	planner, ok := d.Connector.(connectors.Planner)
	for _, r := range routes {
		key := dispatch.RouteKey{Tenant: s.tenant, Name: r.Name}
		if r.To != d.Name {
			continue
		}
		for i, c := range r.Steps {
			if !ok && (len(r.Steps) > 1 || c.Call != "" || c.Map != nil) {
				return fmt.Errorf("destination %s: route %s: it does one thing, and takes one step without call and map", d.Name, r.Name)
			}
			if !ok {
				s.routes[key].Steps[i].Plan = nil
				continue
			}
			plan, err := planner.Plan(connectors.StepConfig{Name: c.Name, Call: c.Call, Map: c.Map})
			if err != nil {
				return fmt.Errorf("destination %s: route %s: step %s: %w", d.Name, r.Name, c.Name, err)
			}
			s.routes[key].Steps[i].Plan = plan
		}
	}
	return nil
}

// planAgain gives the routes to a destination that goes on as it was before the plans that
// it made then, where it made any.
func (s *share) planAgain(d *dispatch.Destination, routes []outbox.RouteConfig, before *share) {
	if before == nil || s.problems[wholeTenant] != (trouble{}) {
		return
	}
	for _, r := range routes {
		key := dispatch.RouteKey{Tenant: s.tenant, Name: r.Name}
		if was, ok := before.routes[key]; ok && r.To == d.Name && len(was.Steps)+len(r.Steps) > 0 {
			s.routes[key] = was
		}
	}
}
