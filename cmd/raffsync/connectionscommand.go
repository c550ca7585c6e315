package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"raffsync/outbox"
)

type connectionsCommand struct {
	List       connectionsList       `cmd:"" help:"List how a tenant's connections stand, without what is kept."`
	Show       connectionsShow       `cmd:"" help:"Show how one connection stands."`
	Disconnect connectionsDisconnect `cmd:"" help:"Forget what a platform gave to a destination."`
}

type connectionsList struct {
	tenantFlag
	JSON bool `name:"json" help:"Print as JSON."`
}

func (c *connectionsList) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		all, err := store.ConnectionsOf(ctx, tenant)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(append([]outbox.ConnectionStatus{}, all...))
		}
		for _, s := range all {
			fmt.Printf("%-20s  %s\n", s.Destination, standing(s))
		}
		return nil
	})
}

// standing is a connection in one line.
func standing(s outbox.ConnectionStatus) string {
	switch {
	case s.Revoked && s.Problem != nil:
		return "lost: " + *s.Problem
	case !s.Connected:
		return "not connected"
	case s.Problem != nil:
		return "connected; the last renewal failed: " + *s.Problem
	case s.RenewBy != nil:
		return "connected; lost at " + s.RenewBy.Format(time.RFC3339) + " unless it is renewed before"
	}
	return "connected"
}

type connectionsShow struct {
	tenantFlag
	Destination string `arg:"" help:"Name of the destination."`
	JSON        bool   `name:"json" help:"Print as JSON."`
}

func (c *connectionsShow) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		all, err := store.ConnectionsOf(ctx, tenant)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Destination != c.Destination {
				continue
			}
			if c.JSON {
				return printJSON(s)
			}
			fmt.Printf("%s: %s\n", s.Destination, standing(s))
			if s.ConnectedBy != nil {
				fmt.Printf("  connected by  %s\n", *s.ConnectedBy)
			}
			for _, l := range []struct {
				name string
				at   *time.Time
			}{{"connected at", s.ConnectedAt}, {"renewed at", s.RenewedAt}, {"token ends", s.ExpiresAt}, {"renew by", s.RenewBy}, {"failed at", s.ProblemAt}} {
				if l.at != nil {
					fmt.Printf("  %-12s  %s\n", l.name, l.at.Format(time.RFC3339))
				}
			}
			return nil
		}
		return fmt.Errorf("nothing is kept for a destination %q of tenant %s", c.Destination, tenant)
	})
}

type connectionsDisconnect struct {
	tenantFlag
	reasonFlag
	Destination string `arg:"" help:"Name of the destination."`
}

func (connectionsDisconnect) Help() string {
	return `The destination is sent to no more, from some seconds later, until it is connected
again. The platform is not told: revoke the access there too. A destination that needs
nobody's consent (client credentials, logins) gets a new token by itself; pause it instead.

Examples:
  raffsync connections disconnect xero --reason "moved to another organisation"`
}

func (c *connectionsDisconnect) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		current, err := store.ConfigurationOf(ctx, tenant)
		if err != nil {
			return err
		}
		err = store.Disconnect(ctx, actor(tenant), current.Names.Destinations[c.Destination], c.Reason)
		if errors.Is(err, outbox.ErrNotFound) {
			return fmt.Errorf("nothing is kept for a destination %q of tenant %s", c.Destination, tenant)
		}
		if err != nil {
			return err
		}
		fmt.Printf("%s is disconnected\n", c.Destination)
		return nil
	})
}
