package main

import (
	"context"
	"sync"

	"raffsync/cmd/raffsync/acknowledge"
	"raffsync/outbox"
	"raffsync/outbox/escalate"
	"raffsync/outbox/explain"
	"raffsync/outbox/view"
)

// newEscalation makes the worker that tells teams of exceptions.
func (a *app) newEscalation() (*escalate.Worker, error) {
	store := a.config.store
	var once sync.Once
	return escalate.New(escalate.Config{
		Store: store, Log: a.config.log,
		Acknowledge: func(l escalate.Link) string {
			link := acknowledge.Link(store, l.Base, acknowledge.Claim{Tenant: l.Tenant, Exception: l.Exception, Address: l.Address, Expires: l.Expires, For: l.For})
			if link == "" {
				once.Do(func() {
					a.config.log.Warn("notices have no links, since there is no key to sign them with: set RAFFSYNC_SECRET_KEY, the same for all processes")
				})
			}
			return link
		},
		OnTold: func(lanes []int16) {
			a.dispatcher.Wake(lanes)
			store.Hint(outbox.Hint{Lanes: lanes})
		},
	})
}

// titleOf is what an exception is called in a language.
func (a *app) titleOf(ctx context.Context, tenant string, exception int64, in explain.Language) (string, error) {
	var found *view.Exception
	err := view.New(a.config.store.API()).As(ctx, tenant, func(tx *view.Tx) error {
		all, err := tx.ExceptionsByID(ctx, []int64{exception})
		found = all[exception]
		return err
	})
	if err != nil {
		return "", err
	}
	if found == nil {
		return "", outbox.ErrNotFound
	}
	text := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	s := explain.Subject{
		Class: found.Class, Destination: text(found.Destination), Source: text(found.Source),
		Rule: found.Rule, Code: found.Code, Field: found.Field, Held: found.HeldCount,
	}
	return explain.Explain(s, in).Title, nil
}
