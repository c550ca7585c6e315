package broker

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"

	"raffsync/outbox"
)

// keyringSize bounds the remembered keys.
const keyringSize = 4096

// keyring remembers for a short time what keys prove, so that not every call asks
// the database. A wrong key is never remembered.
type keyring struct {
	authenticate func(context.Context, string) (outbox.Credential, error)
	ttl          time.Duration
	log          *slog.Logger
	// inside knows the keys that are not the store's.
	inside  func(key string) (c outbox.Credential, inside bool, err error)
	failing atomic.Bool

	mu    sync.Mutex
	known map[[sha256.Size]byte]proven
}

type proven struct {
	credential outbox.Credential
	at         time.Time
}

// keyOf reads the key from the metadata of a call.
func keyOf(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) == 0 {
		return "", errNoKey
	}
	scheme, key, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || len(values) > 1 {
		return "", errNoKey
	}
	return strings.TrimSpace(key), nil
}

// check finds what a key proves; a remembered answer will do.
func (k *keyring) check(ctx context.Context, key string) (outbox.Credential, error) {
	k.mu.Lock()
	p, ok := k.known[sha256.Sum256([]byte(key))]
	k.mu.Unlock()
	if ok && time.Since(p.at) < k.ttl {
		return p.credential, nil
	}
	return k.ask(ctx, key)
}

// ask finds out anew.
func (k *keyring) ask(ctx context.Context, key string) (outbox.Credential, error) {
	if c, inside, err := k.inside(key); inside {
		return c, err
	}
	at := time.Now()
	credential, err := k.authenticate(ctx, key)
	sum := sha256.Sum256([]byte(key))
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case errors.Is(err, outbox.ErrUnauthenticated):
		delete(k.known, sum)
		return outbox.Credential{}, errBadKey
	case err != nil && ctx.Err() != nil:
		return outbox.Credential{}, ctx.Err()
	case err != nil:
		if !k.failing.Swap(true) {
			k.log.ErrorContext(ctx, "keys cannot be checked; new calls are refused", "error", err)
		}
		return outbox.Credential{}, errNoStore
	}
	if k.failing.Swap(false) {
		k.log.InfoContext(ctx, "keys are checked again")
	}
	if k.known == nil || len(k.known) >= keyringSize {
		k.known = make(map[[sha256.Size]byte]proven)
	}
	k.known[sum] = proven{credential, at}
	return credential, nil
}
