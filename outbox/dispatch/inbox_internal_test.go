package dispatch

import (
	"context"
	"testing"
)

func signalled[T any](b *inbox[T]) bool {
	select {
	case <-b.signal:
		return true
	default:
		return false
	}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	b := newInbox[int]()
	b.lay(1, 2)
	if signalled(b) {
		t.Error("a signal for what was only laid there")
	}
	if b.remind(); !signalled(b) {
		t.Error("no signal for what is there")
	}
	if got := b.take(1); len(got) != 1 || !signalled(b) {
		t.Errorf("%v is taken of two, and a signal is left for the other one", got)
	}
	b.take(1)
	if b.remind(); signalled(b) {
		t.Error("a signal for nothing")
	}
}

// A landing is heard of at once, but for the time in which intents are being stored.
func TestLand_WakesTheScheduler(t *testing.T) {
	t.Parallel()
	n := &incarnation{news: newInbox[func(*scheduler)](), outcomes: newInbox[*flight]()}
	if n.land(&flight{}); !signalled(n.news) {
		t.Error("nothing is being stored, and nobody hears of a landing")
	}
	n.intending.Store(true)
	if n.land(&flight{}); signalled(n.news) {
		t.Error("the scheduler is woken while nothing more can be intended")
	}
	if heard, stored := len(n.news.take(9)), len(n.outcomes.take(9)); heard != 2 || stored != 2 {
		t.Errorf("%d landings are told, and %d outcomes handed on, of 2", heard, stored)
	}
}

// What landed while intents were being stored, and woke nobody, is heard of after that.
func TestIntendAll_RemindsOfWhatLanded(t *testing.T) {
	t.Parallel()
	n := &incarnation{news: newInbox[func(*scheduler)](), outcomes: newInbox[*flight](), requests: newInbox[*flight]()}
	n.news.lay(func(*scheduler) {})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- n.intendAll(ctx) }()
	n.requests.wake()
	<-n.news.signal
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n.intending.Load() {
		t.Error("it still seems to store intents")
	}
}
