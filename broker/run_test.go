package broker

import (
	"context"
	"net"
	"strings"
	"testing"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

// closed tells whether nobody listens there any more.
func closed(l net.Listener) bool {
	conn, err := net.Dial("tcp", l.Addr().String())
	if err == nil {
		conn.Close()
	}
	return err != nil
}

// idle is a broker that was not run, with its listeners.
func idle(t *testing.T, store *outbox.Store) (*Broker, []net.Listener) {
	t.Helper()
	var listeners []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	b, err := New(Config{Store: store, Listeners: listeners})
	if err != nil {
		t.Fatal(err)
	}
	return b, listeners
}

func TestBroker_RunEndsEarly(t *testing.T) {
	server := outboxtest.NewServer(t, outboxtest.ServerOptions{})
	store, err := outbox.Open(t.Context(), outbox.Config{DSN: server.NewDatabase(), AllowUnsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	check := func(t *testing.T, listeners []net.Listener) {
		t.Helper()
		for _, l := range listeners {
			if !closed(l) {
				t.Errorf("%s is still open", l.Addr())
			}
		}
	}

	t.Run("BeforeItBegan", func(t *testing.T) {
		b, listeners := idle(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
		check(t, listeners)
	})
	t.Run("WhileItBegins", func(t *testing.T) {
		b, listeners := idle(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		b.server.Stop() // as if the drain overtook the listeners' goroutines
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		for _, l := range listeners {
			eventually(t, "the listener is closed", func() bool { return closed(l) })
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("WithoutPostgres", func(t *testing.T) {
		b, listeners := idle(t, store)
		server.Kill()
		if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "open a writer") {
			t.Errorf("it ended with %v", err)
		}
		check(t, listeners)
	})
}
