package graph

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"raffsync/outbox"
)

// Operators tells who people are.
type Operators interface {
	// AuthenticateOperator returns who a name and secret are, or
	// [outbox.ErrUnauthenticated]. It may take a good part of a second.
	AuthenticateOperator(ctx context.Context, name, secret string) (outbox.Actor, error)
}

// session is who makes a request, and how to ask again whether they still may.
type session struct {
	actor outbox.Actor
	renew func(context.Context) error
}

type sessionKey struct{}

func withSession(ctx context.Context, s *session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// sessionOf returns nil where nobody has proven who they are.
func sessionOf(ctx context.Context) *session {
	s, _ := ctx.Value(sessionKey{}).(*session)
	return s
}

// actorOf returns [outbox.ErrUnauthenticated] where nobody has proven who they are.
func actorOf(ctx context.Context) (outbox.Actor, error) {
	if s := sessionOf(ctx); s != nil {
		return s.actor, nil
	}
	return outbox.Actor{}, outbox.ErrUnauthenticated
}

const (
	// verifiedFor is how long a verified credential is taken without looking again:
	// a revoked one ends within it.
	verifiedFor = time.Minute
	// mostVerified bounds the memory; beyond it, credentials are verified anew.
	mostVerified = 1_000
	// atOnce bounds how many cores the slow hash may take.
	atOnce = 2
)

// doorkeeper verifies credentials, and remembers for a while which were right. It
// remembers no secret: only its HMAC under a key of this process.
type doorkeeper struct {
	operators Operators
	key       [32]byte
	slots     chan struct{}
	now       func() time.Time

	mu       sync.Mutex
	verified map[[sha256.Size]byte]verification
}

type verification struct {
	actor outbox.Actor
	until time.Time
}

func newDoorkeeper(operators Operators) *doorkeeper {
	d := &doorkeeper{
		operators: operators, slots: make(chan struct{}, atOnce), now: time.Now,
		verified: make(map[[sha256.Size]byte]verification),
	}
	rand.Read(d.key[:])
	return d
}

// admit returns the session of a name and secret.
func (d *doorkeeper) admit(ctx context.Context, name, secret string) (*session, error) {
	actor, err := d.verify(ctx, name, secret)
	if err != nil {
		return nil, err
	}
	return &session{actor: actor, renew: func(ctx context.Context) error {
		_, err := d.verify(ctx, name, secret)
		return err
	}}, nil
}

func (d *doorkeeper) verify(ctx context.Context, name, secret string) (outbox.Actor, error) {
	mark := d.mark(name, secret)
	if actor, ok := d.remembered(mark); ok {
		return actor, nil
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return outbox.Actor{}, ctx.Err()
	}
	// A page that opens asks many times at once; the first in line has answered.
	if actor, ok := d.remembered(mark); ok {
		return actor, nil
	}
	actor, err := d.operators.AuthenticateOperator(ctx, name, secret)
	if err != nil {
		return outbox.Actor{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.verified) >= mostVerified {
		clear(d.verified)
	}
	d.verified[mark] = verification{actor, d.now().Add(verifiedFor)}
	return actor, nil
}

func (d *doorkeeper) remembered(mark [sha256.Size]byte) (outbox.Actor, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.verified[mark]
	if ok && !d.now().Before(v.until) {
		delete(d.verified, mark)
		ok = false
	}
	return v.actor, ok
}

func (d *doorkeeper) mark(name, secret string) (mark [sha256.Size]byte) {
	h := hmac.New(sha256.New, d.key[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(name))))
	h.Write([]byte(name))
	h.Write([]byte(secret))
	h.Sum(mark[:0])
	return mark
}
