package main

import (
	"errors"
	"fmt"

	"raffsync/cmd/raffsync/config"
	"raffsync/connectors/hooks"
	"raffsync/outbox"
)

// receive makes the receivers of a tenant's webhooks. One that cannot be made, because a
// secret is missing for instance, goes on as it was configured before, if it was.
func (p *plans) receive(s *share, a outbox.Applied, before *share) {
	s.received = make(map[int32]*hooks.Source)
	var faults []error
	for _, c := range a.Sources {
		if c.Webhook == nil {
			continue
		}
		id := a.Names.Sources[c.Name]
		made, err := hooks.New(hooks.Config{Tenant: a.Tenant, Name: c.Name, ID: id, Webhook: c.Webhook, Event: c.Event, Secret: config.ResolveSecret})
		switch {
		case err == nil:
			s.received[id] = made
			continue
		case before != nil && before.received[id] != nil:
			s.received[id] = before.received[id]
		}
		faults = append(faults, fmt.Errorf("source %s: %s", c.Name, oneLine(err)))
	}
	if len(faults) > 0 {
		// With what is wrong with the routes, which is of the whole tenant too.
		if whole := s.problems[wholeTenant]; whole.problem != "" {
			faults = append(faults, errors.New(whole.problem))
		}
		s.problems[wholeTenant] = trouble{problem: oneLine(errors.Join(faults...)), rests: s.problems[wholeTenant].rests}
	}
}
