package main

import (
	"context"
	"errors"
	"time"

	"raffsync/connectors/hooks"
)

const (
	// againEvery is how often quarantined webhooks are looked for that somebody asked for,
	// againAtOnce how many are held at once, againTimeout how long one may take.
	againEvery   = time.Second
	againAtOnce  = 20
	againTimeout = 10 * time.Second
)

// reprocess evaluates quarantined webhooks again when somebody asks for it.
func (a *app) reprocess(ctx context.Context) error {
	tick := time.NewTicker(againEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := a.reprocessOnce(ctx); err != nil && ctx.Err() == nil {
			a.config.log.WarnContext(ctx, "quarantined webhooks are evaluated again later", "error", err)
		}
	}
}

// reprocessOnce goes once over all of them. Another process may do the same: what both
// publish is one event.
func (a *app) reprocessOnce(ctx context.Context) error {
	var after int64
	for {
		asked, err := a.config.store.AskedWebhooks(ctx, after, againAtOnce)
		if err != nil || len(asked) == 0 {
			return err
		}
		for _, w := range asked {
			after = w.Number
			k := hooks.Kept{
				Tenant: w.Tenant, Source: w.Source, ContentType: w.ContentType, Headers: w.Headers, Query: w.Query, Body: w.Body, BodyBytes: w.BodyBytes,
			}
			copy(k.BodySHA256[:], w.BodySHA256)
			err := a.again(ctx, k)
			var still *hooks.Nonsense
			switch {
			case err == nil:
				err = a.config.store.ReleaseWebhook(ctx, w.Number)
			case errors.As(err, &still):
				err = a.config.store.KeepWebhook(ctx, w.Number, still.Reason)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (a *app) again(ctx context.Context, k hooks.Kept) error {
	ctx, cancel := context.WithTimeout(ctx, againTimeout)
	defer cancel()
	return a.hooks.Again(ctx, k)
}
