package graph

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"raffsync/outbox"
)

// book is a list of operators that counts how often it is looked into.
type book struct {
	mu      sync.Mutex
	secrets map[string]string
	asked   int
	fails   error
}

func (b *book) AuthenticateOperator(_ context.Context, name, secret string) (outbox.Actor, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.fails != nil {
		return outbox.Actor{}, b.fails
	}
	if b.secrets[name] != secret {
		return outbox.Actor{}, outbox.ErrUnauthenticated
	}
	return outbox.Actor{Tenant: "kopi", Name: name}, nil
}

func TestDoorkeeper_Admit(t *testing.T) {
	now := time.Unix(1_000, 0)
	open := func() (*doorkeeper, *book) {
		b := &book{secrets: map[string]string{"ani": "s", "an": "is"}}
		d := newDoorkeeper(b)
		d.now = func() time.Time { return now }
		return d, b
	}
	t.Run("RemembersForAWhile", func(t *testing.T) {
		d, b := open()
		var session *session
		for range 5 {
			var err error
			if session, err = d.admit(t.Context(), "ani", "s"); err != nil || session.actor.Name != "ani" {
				t.Fatalf("%+v, %v", session, err)
			}
		}
		if b.asked != 1 {
			t.Errorf("looked %d times for five requests", b.asked)
		}
		delete(b.secrets, "ani")
		if err := session.renew(t.Context()); err != nil {
			t.Errorf("renewed within the minute: %v", err)
		}
		now = now.Add(verifiedFor)
		if err := session.renew(t.Context()); !errors.Is(err, outbox.ErrUnauthenticated) {
			t.Errorf("renewed after the minute: %v; want ErrUnauthenticated", err)
		}
	})
	t.Run("TellsNameFromSecret", func(t *testing.T) {
		d, _ := open()
		a, err := d.admit(t.Context(), "ani", "s")
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.admit(t.Context(), "an", "is")
		if err != nil || a.actor.Name != "ani" || b.actor.Name != "an" {
			t.Errorf("%+v and %+v, %v", a, b, err)
		}
	})
	t.Run("RemembersNoFailure", func(t *testing.T) {
		d, b := open()
		for range 3 {
			if _, err := d.admit(t.Context(), "ani", "x"); !errors.Is(err, outbox.ErrUnauthenticated) {
				t.Fatalf("admitted: %v", err)
			}
		}
		if b.asked != 3 {
			t.Errorf("looked %d times, want 3", b.asked)
		}
		b.fails = errors.New("the database is away")
		if _, err := d.admit(t.Context(), "ani", "s"); errors.Is(err, outbox.ErrUnauthenticated) || err == nil {
			t.Errorf("a failure to look was taken for a wrong secret: %v", err)
		}
	})
	t.Run("IsBounded", func(t *testing.T) {
		d, b := open()
		for i := range 2*mostVerified + 1 {
			name := fmt.Sprint(i)
			b.secrets[name] = "s"
			if _, err := d.admit(t.Context(), name, "s"); err != nil {
				t.Fatal(err)
			}
			if len(d.verified) > mostVerified {
				t.Fatalf("%d remembered", len(d.verified))
			}
		}
	})
	t.Run("AsksOnceForManyAtOnce", func(t *testing.T) {
		d, b := open()
		d.slots = make(chan struct{}, 1)
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				if _, err := d.admit(t.Context(), "ani", "s"); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if b.asked != 1 {
			t.Errorf("looked %d times", b.asked)
		}
	})
}
