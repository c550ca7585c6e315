package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"raffsync/outbox"
)

type keysOperator struct {
	tenantFlag
	Name string `arg:"" help:"Name to log in with."`
}

func (keysOperator) Help() string {
	return `Makes a secret for the operator and prints it this once; an earlier one ends.`
}

func (c *keysOperator) Run(ctx context.Context, line *commandLine) error {
	if c.Name == "" || strings.ContainsFunc(c.Name, unicode.IsControl) || strings.Contains(c.Name, ":") {
		return errors.New("an operator's name is one line of text without a colon, which HTTP Basic keeps for itself")
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		secret := rand.Text()
		if err := store.SetOperator(ctx, actor(tenant), c.Name, secret); err != nil {
			return err
		}
		fmt.Printf("%s / %s\n", c.Name, secret)
		return nil
	})
}

type keysOperators struct {
	tenantFlag
	JSON bool `name:"json" help:"Print as JSON."`
}

func (c *keysOperators) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		operators, err := store.Operators(ctx, tenant)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(append([]outbox.Operator{}, operators...))
		}
		for _, o := range operators {
			fmt.Printf("%-20s  %s\n", o.Name, sinceWhen(o.CreatedAt, o.CreatedBy, o.RevokedAt))
		}
		return nil
	})
}

type keysRevokeOperator struct {
	tenantFlag
	Name string `arg:"" help:"Name of the operator, as the list shows it."`
}

func (c *keysRevokeOperator) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		if err := store.RevokeOperator(ctx, actor(tenant), c.Name); err != nil {
			return err
		}
		fmt.Println("revoked")
		return nil
	})
}
