package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// connections hands what the outbox keeps of one destination to its connector: the two
// rooms know nothing of each other.
type connections struct{ kept *outbox.Connections }

func (c connections) Load(ctx context.Context) (connectors.Connection, error) {
	k, err := c.kept.Load(ctx)
	return connectors.Connection(k), connectionError(err)
}

func (c connections) Claim(ctx context.Context, version int64, hold time.Duration) (connectors.Claim, error) {
	claim, err := c.kept.Claim(ctx, version, hold)
	return connectors.Claim(claim), connectionError(err)
}

func (c connections) Save(ctx context.Context, claim connectors.Claim, k connectors.Connection) (int64, error) {
	version, err := c.kept.Save(ctx, outbox.ConnectionClaim(claim), outbox.Connection(k))
	return version, connectionError(err)
}

func (c connections) Release(ctx context.Context, claim connectors.Claim, why connectors.Failure) error {
	return connectionError(c.kept.Release(ctx, outbox.ConnectionClaim(claim), outbox.ConnectionFailure(why)))
}

func connectionError(err error) error {
	switch {
	case errors.Is(err, outbox.ErrNoKey):
		return connectors.ErrNoKey
	case errors.Is(err, outbox.ErrClaimLost):
		return connectors.ErrClaimLost
	}
	return err
}

// keepEvery is how often connections are looked at that nobody uses; each process begins
// at another moment of it.
const keepEvery = 10 * time.Minute

// keepConnections renews what would be lost if nobody used it, until the context ends.
func (a *app) keepConnections(ctx context.Context) error {
	wait := time.NewTimer(rand.N(keepEvery))
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		if plan := a.plan.Load(); plan != nil {
			a.keepConnectionsOf(ctx, plan)
		}
		wait.Reset(keepEvery)
	}
}

func (a *app) keepConnectionsOf(ctx context.Context, plan *dispatch.Plan) {
	for _, d := range plan.Destinations {
		c := connectorOf(d.Connector)
		if c == nil {
			continue
		}
		if err := c.Keep(ctx); err != nil && ctx.Err() == nil {
			a.config.log.WarnContext(ctx, "a connection could not be renewed ahead of its end", "tenant", d.Tenant, "destination", d.Name, "error", err)
		}
	}
}

// connectorOf is how people connect the destination; nil where its kind has no such thing.
func connectorOf(d connectors.Destination) auth.Connector {
	authenticated, ok := d.(auth.Authenticated)
	if !ok {
		return nil
	}
	c, _ := authenticated.Authenticator().(auth.Connector)
	return c
}
