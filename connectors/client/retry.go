package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxRetryInfo caps what a broker may ask for: past it, a mistake is likelier than
// an intention.
const maxRetryInfo = 10 * time.Minute

// run opens one stream after the other.
func (c *Client) run(ctx context.Context) error {
	failures := 0
	var since time.Time // of the first failure since something got anywhere
	for {
		progress, err := c.stream(ctx)
		if ctx.Err() != nil || errors.Is(err, errFinished) {
			return nil
		}
		if fatal := c.fatal(err); fatal != nil {
			return fatal
		}
		if progress {
			failures, since = 0, time.Time{}
		}
		if since.IsZero() {
			since = time.Now()
		}
		delay := retryDelay(err, failures, c.cfg.RetryMin, c.cfg.RetryMax, rand.Float64())
		failures++
		if c.cfg.GiveUpAfter > 0 && time.Since(since)+delay > c.cfg.GiveUpAfter {
			return fmt.Errorf("client: no stream to %s got anywhere for %s: %s; the last one ended so: %w",
				c.where, c.cfg.GiveUpAfter, wayOut(err), said{err})
		}
		c.mu.Lock()
		c.stats.Trouble = said{err}
		waiting := c.queue.waiting()
		c.mu.Unlock()
		c.cfg.Logger.LogAttrs(ctx, level(err), "stream ended", slog.String("broker", c.where), slog.String("reason", said{err}.Error()),
			slog.Int("unacknowledged", waiting), slog.Duration("next_in", delay))
		if !c.pause(ctx, delay) {
			return nil
		}
	}
}

func level(err error) slog.Level {
	if errors.Is(err, errDrained) {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// retryDelay is the wait before the next stream: what the broker asks for, and
// beyond that a backoff whose upper half is random, so that the clients of a broker
// that comes back don't come all at once. random is in [0, 1).
func retryDelay(err error, failures int, least, most time.Duration, random float64) time.Duration {
	ceiling := most
	if failures < 32 && least<<failures > 0 {
		ceiling = min(most, least<<failures)
	}
	backoff := ceiling/2 + time.Duration(random*float64(ceiling/2))
	if asked := retryInfo(err); asked > 0 {
		// Never earlier than asked; spread over a tenth beyond it.
		return max(backoff, asked+time.Duration(random*float64(asked/10)))
	}
	return backoff
}

func retryInfo(err error) time.Duration {
	s, ok := status.FromError(err)
	if !ok {
		return 0
	}
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return min(max(info.GetRetryDelay().AsDuration(), 0), maxRetryInfo)
		}
	}
	return 0
}

// errUnencodable is a batch that gRPC can't encode.
var errUnencodable = errors.New("client: a batch can't be encoded any more: an event was changed after Send took it, which it must not be")

// fatal returns an error for what another stream would not cure, and nil for the rest.
func (c *Client) fatal(err error) error {
	if errors.Is(err, errUnencodable) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return nil
	}
	var advice string
	switch s.Code() {
	case codes.Unauthenticated:
		if errorReason(err) != "" {
			// A broker of ours says itself what is wrong with the key, and what to do.
			return fmt.Errorf("client: the broker at %s does not let this client in: %w", c.where, said{err})
		}
		advice = "does not accept the key; it is wrong or revoked: make one with `raffsync keys create` and give it to this client"
	case codes.PermissionDenied:
		advice = "does not let this key publish: use the key of a source, made by `raffsync keys create`"
	case codes.InvalidArgument:
		advice = "does not understand a frame of this client: bring both to the same version"
	case codes.Unimplemented:
		advice = "takes no events: check that the address is a Raffs Sync broker's gRPC listener, and its version"
	default:
		return nil
	}
	return fmt.Errorf("client: the broker at %s %s: %w", c.where, advice, said{err})
}
