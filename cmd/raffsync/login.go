package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"raffsync/outbox"
)

// loginFile keeps the development login in the state folder.
const loginFile = "login"

// developmentLogin is an operator's secret, made once: short enough to type, for an
// API that is on loopback.
func developmentLogin(state string) (string, error) {
	path := filepath.Join(state, loginFile)
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	random := strings.ToLower(rand.Text())
	login := random[:4] + "-" + random[4:8]
	return login, writeSecret(path, login)
}

// ensureOperator makes the login good, if it is not.
func ensureOperator(ctx context.Context, store *outbox.Store, actor outbox.Actor, name, login string) error {
	_, err := store.AuthenticateOperator(ctx, name, login)
	if errors.Is(err, outbox.ErrUnauthenticated) {
		return store.SetOperator(ctx, actor, name, login)
	}
	return err
}

// developmentOperator is who may log in to a development server.
const developmentOperator = "dev"

// printDevelopmentLogin makes a login for the only tenant there is, and says how to
// get in.
func printDevelopmentLogin(ctx context.Context, r running, state string) error {
	all, err := r.store.Configurations(ctx)
	if err != nil {
		return err
	}
	api := "http://" + r.app.httpAt.Addr().String()
	switch len(all) {
	case 0:
		fmt.Printf("API %s: nobody can log in yet, since no configuration is in force; `raffsync apply FILE`, then `raffsync keys operator NAME`\n", api)
		return nil
	case 1:
	default:
		fmt.Printf("API %s: log in as one whom `raffsync keys operator NAME --tenant TENANT` made\n", api)
		return nil
	}
	login, err := developmentLogin(state)
	if err != nil {
		return err
	}
	if err := ensureOperator(ctx, r.store, actor(all[0].Tenant), developmentOperator, login); err != nil {
		return err
	}
	fmt.Printf("API %s  %s / %s\n", api, developmentOperator, login)
	return nil
}
