package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"raffsync/broker"
	"raffsync/connectors"
	"raffsync/connectors/hooks"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// share is one tenant's part of what the process works by. It is never changed.
type share struct {
	tenant       string
	version      int // of the configuration that it was made of
	rules        *broker.Rules
	destinations map[int32]*dispatch.Destination
	routes       map[dispatch.RouteKey]dispatch.Route
	outlets      map[dispatch.OutletKey]*time.Location
	received     map[int32]*hooks.Source // whose webhooks are received
	// problems are what could not be used of the version, by destination.
	problems map[int32]trouble
}

// wholeTenant stands among destinations for what is wrong with the routes.
const wholeTenant int32 = 0

// trouble is why something is not in force as configured.
type trouble struct {
	problem string
	rests   bool // there is nothing from before that it goes on by
}

func (s *share) destination(id int32) *dispatch.Destination {
	if s == nil {
		return nil
	}
	return s.destinations[id]
}

// use is what the others are told of it.
func (s *share) use() outbox.Use {
	u := outbox.Use{Tenant: s.tenant, Version: s.version, Problem: s.problems[wholeTenant].problem}
	for _, id := range slices.Sorted(maps.Keys(s.problems)) {
		if id != wholeTenant {
			u.Troubles = append(u.Troubles, outbox.Trouble{Destination: id, Problem: s.problems[id].problem, Rests: s.problems[id].rests})
		}
	}
	return u
}

// log says what has become of the configuration. It is called once a change.
func (s *share) log(log *slog.Logger, before *share) {
	ctx := context.Background()
	for _, id := range slices.Sorted(maps.Keys(s.problems)) {
		t := s.problems[id]
		so := "it goes on as it was configured before"
		if t.rests {
			so = "it rests until that is put right"
		}
		log.ErrorContext(ctx, "part of the configuration cannot be used: "+so, "tenant", s.tenant, "version", s.version, "error", t.problem)
	}
	if len(s.problems) == 0 && before != nil {
		log.InfoContext(ctx, "a configuration is in force", "tenant", s.tenant, "version", s.version)
	}
}

// oneLine is an error's text on one line, for tables and terminals.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// resting stands in for a connector that cannot be built. Nothing is sent by it; it
// says what the platform promises, which decides what becomes of the requests that an
// earlier process left open.
type resting struct{ traits connectors.Traits }

func (r resting) Traits() connectors.Traits { return r.traits }

func (resting) Prepare(connectors.Step) (connectors.Request, error) {
	return nil, errors.New("the destination rests")
}

func (resting) Send(context.Context, connectors.Request) connectors.Outcome {
	return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "rests", Reason: "not sent: the destination cannot be used as configured"}
}

// placeholder has the form of a signing secret, for connectors that never send.
const placeholder = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// standIn makes the stand-in of a destination. Its traits come from the settings as far
// as those can be read without the secrets; otherwise it promises nothing.
func (p *plans) standIn(tenant string, id int32, d outbox.DestinationConfig) connectors.Destination {
	o := p.options(tenant, id, d)
	o.AllowLoopback = true
	o.Secret = func(string) (string, error) { return placeholder, nil }
	connector, err := p.kinds(d).New(d.Kind, o)
	if err != nil {
		return resting{}
	}
	return resting{connector.Traits()}
}
