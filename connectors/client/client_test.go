package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/testing/protocmp"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told records what OnResult is called with.
type told struct {
	mu      sync.Mutex
	ids     []string
	results []client.Result
}

func (r *told) add(e *raffsyncv1.Event, result client.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids, r.results = append(r.ids, e.Id), append(r.results, result)
}

// running is a client whose Run goes on, and what it tells.
type running struct {
	*client.Client
	told told
	// done gives what Run returned.
	done chan error
}

func config(address string) client.Config {
	return client.Config{
		Target: address, Key: testKey, Name: "test 1",
		RetryMin: time.Millisecond, RetryMax: 4 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
}

func run(t testing.TB, cfg client.Config) *running {
	t.Helper()
	r := &running{done: make(chan error, 1)}
	if cfg.OnResult == nil {
		cfg.OnResult = r.told.add
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Client = c
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.done <- c.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-finished })
	return r
}

func (r *running) send(t testing.TB, from, to int) (ids []string) {
	t.Helper()
	for i := from; i < to; i++ {
		e := event(i)
		if err := r.Send(within(t), e); err != nil {
			t.Fatalf("Send %s: %v", e.Id, err)
		}
		ids = append(ids, e.Id)
	}
	return ids
}

func TestClient_Send(t *testing.T) {
	t.Run("AcknowledgesEachEventOnceInOrder", func(t *testing.T) {
		_, address := newBroker(t, serve)
		c := run(t, config(address))
		ids := c.send(t, 0, 1000)
		if err := c.Flush(within(t)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(ids, c.told.ids); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		got := c.Stats()
		if got.Accepted != 1000 || got.Unacknowledged != 0 || got.Source != "shop" || !got.Connected {
			t.Errorf("stats: %+v", got)
		}
	})

	t.Run("TellsWhatBecameOfEach", func(t *testing.T) {
		_, address := newBroker(t, serve)
		c := run(t, config(address))
		other := event(0)
		other.Data = &raffsyncv1.Event_BinaryData{BinaryData: []byte(`{"n":-1}`)}
		invalid, unwanted := event(1), event(2)
		invalid.Type, unwanted.Type = "", "unwanted"
		for _, e := range []*raffsyncv1.Event{event(0), event(0), other, invalid, unwanted} {
			if err := c.Send(within(t), e); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		want := []client.Result{
			{Status: raffsyncv1.Status_STATUS_ACCEPTED},
			{Status: raffsyncv1.Status_STATUS_DUPLICATE},
			{Status: raffsyncv1.Status_STATUS_CONFLICT, Fix: "do not send it again"},
			{Status: raffsyncv1.Status_STATUS_INVALID, Fix: "give the event a type", Violations: []*raffsyncv1.FieldViolation{{Field: "type", Message: "value is required"}}},
			{Status: raffsyncv1.Status_STATUS_UNROUTED, Fix: "add a route"},
		}
		if diff := cmp.Diff(want, c.told.results, protocmp.Transform()); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
		s := c.Stats()
		if got := []uint64{s.Accepted, s.Duplicate, s.Conflict, s.Invalid, s.Unrouted, s.Other}; !cmp.Equal(got, []uint64{1, 1, 1, 1, 1, 0}) {
			t.Errorf("counters: %v", got)
		}
	})

	t.Run("RefusesWhatWouldPoisonTheStream", func(t *testing.T) {
		_, address := newBroker(t, serve)
		c := run(t, config(address))
		c.send(t, 0, 1)
		if err := c.Flush(within(t)); err != nil { // so that the broker's limits are known
			t.Fatal(err)
		}
		broken, reference, overLimit := event(1), event(2), event(3)
		broken.Outlet = "Caf\xe9"
		reference.References = map[string]string{"order\xff": "1"}
		overLimit.Data = &raffsyncv1.Event_BinaryData{BinaryData: make([]byte, 512<<10+1)}
		for name, tc := range map[string]struct {
			event *raffsyncv1.Event
			want  string
		}{
			"nil":       {nil, "nil"},
			"outlet":    {broken, "outlet is not UTF-8"},
			"reference": {reference, "references is not UTF-8"},
			"data":      {overLimit, "524289 bytes and the broker takes 524288"},
		} {
			err := c.Send(within(t), tc.event)
			var refused *client.EventError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.want) || refused.ID != tc.event.GetId() {
				t.Errorf("%s: %v, want an EventError with %q", name, err, tc.want)
			}
		}
		c.send(t, 4, 5)
		if err := c.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		if s := c.Stats(); s.Accepted != 2 || s.Streams != 1 {
			t.Errorf("the stream did not go on: %+v", s)
		}
	})

	t.Run("RefusesWhatFitsNoFrameBeforeAnyWelcome", func(t *testing.T) {
		c, err := client.New(config("127.0.0.1:1"))
		if err != nil {
			t.Fatal(err)
		}
		e := event(0)
		e.Data = &raffsyncv1.Event_TextData{TextData: strings.Repeat("x", 1<<20)}
		var refused *client.EventError
		if err := c.Send(within(t), e); !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("WaitsWhileTheBufferIsFull", func(t *testing.T) {
		for name, bound := range map[string]func(*client.Config){
			"Events": func(c *client.Config) { c.BufferEvents = 3 },
			"Bytes":  func(c *client.Config) { c.BufferBytes = 3 * 64 },
		} {
			t.Run(name, func(t *testing.T) {
				release := make(chan struct{})
				_, address := newBroker(t, func(s *session) error {
					if err := s.say(welcome()); err != nil {
						return err
					}
					<-release
					return s.serve()
				})
				cfg := config(address)
				bound(&cfg)
				c := run(t, cfg)
				taken := 0
				for ; taken < 10; taken++ {
					ctx, cancel := context.WithCancel(context.Background())
					sent := make(chan error, 1)
					go func() { sent <- c.Send(ctx, event(taken)) }()
					err := settle(sent, cancel)
					if errors.Is(err, context.Canceled) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if taken < 3 || taken > 6 {
					t.Errorf("took %d events", taken)
				}
				close(release)
				c.send(t, taken, 30)
				if err := c.Close(within(t)); err != nil {
					t.Fatal(err)
				}
				if s := c.Stats(); s.Accepted != 30 {
					t.Errorf("%+v", s)
				}
			})
		}
	})
}

// settle gives a call that may block time to return, and cancels it then: either
// answer is right, so no timing is asserted.
func settle(returned <-chan error, cancel context.CancelFunc) error {
	defer cancel()
	select {
	case err := <-returned:
		return err
	case <-time.After(20 * time.Millisecond):
		cancel()
		return <-returned
	}
}

func TestClient_Flush(t *testing.T) {
	_, address := newBroker(t, func(s *session) error {
		if err := s.say(welcome()); err != nil {
			return err
		}
		<-s.rpc.Context().Done()
		return s.rpc.Context().Err()
	})
	c := run(t, config(address))
	c.send(t, 0, 3)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Flush(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "3 events") {
		t.Errorf("Flush: %v", err)
	}
}

func TestClient_Close(t *testing.T) {
	t.Run("EndsRunCleanly", func(t *testing.T) {
		_, address := newBroker(t, serve)
		c := run(t, config(address))
		c.send(t, 0, 10)
		if err := c.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := <-c.done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := c.Send(within(t), event(11)); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Send afterwards: %v", err)
		}
		if err := c.Flush(within(t)); err != nil {
			t.Errorf("Flush afterwards: %v", err)
		}
		if err := c.Run(within(t)); err == nil {
			t.Error("Run runs a second time")
		}
	})

	t.Run("SaysWhatIsLeft", func(t *testing.T) {
		_, address := newBroker(t, func(s *session) error { return errors.New("no") })
		c := run(t, config(address))
		ids := c.send(t, 0, 2)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := c.Close(ctx)
		if err == nil || !strings.Contains(err.Error(), "2 events not acknowledged") {
			t.Errorf("Close: %v", err)
		}
		if err := <-c.done; err != nil {
			t.Errorf("Run: %v", err)
		}
		left := []string{}
		for _, e := range c.Unacknowledged() {
			left = append(left, e.Id)
		}
		if diff := cmp.Diff(ids, left); diff != "" {
			t.Errorf("Unacknowledged (-want +got):\n%s", diff)
		}
	})

	t.Run("WithoutRun", func(t *testing.T) {
		c, err := client.New(config("127.0.0.1:1"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(within(t), event(0)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 events") {
			t.Errorf("Close: %v", err)
		}
		if err := c.Run(within(t)); err != nil {
			t.Errorf("Run afterwards: %v", err)
		}
	})

	t.Run("BeforeRunHasBegun", func(t *testing.T) {
		_, address := newBroker(t, serve)
		c, err := client.New(config(address))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(within(t), event(0)); err != nil {
			t.Fatal(err)
		}
		closed := make(chan error, 1)
		go func() { closed <- c.Close(within(t)) }()
		if err := c.Run(within(t)); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	})

	t.Run("WhileTheBrokerIsAway", func(t *testing.T) {
		c := run(t, config("127.0.0.1:1"))
		if err := c.Close(within(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestNew_Refuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*client.Config)
		want   string
	}{
		"NoKey":          {func(c *client.Config) { c.Key = "" }, "raffsync keys create"},
		"KeyWithLineEnd": {func(c *client.Config) { c.Key += "\n" }, "trim"},
		"NoName":         {func(c *client.Config) { c.Name = "" }, "Config.Name"},
		"LongName":       {func(c *client.Config) { c.Name = strings.Repeat("n", 121) }, "121 bytes"},
		"NoPort":         {func(c *client.Config) { c.Target = "broker" }, "host:port"},
		"NegativeBuffer": {func(c *client.Config) { c.BufferBytes = -1 }, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config("127.0.0.1:9090")
			tc.change(&cfg)
			_, err := client.New(cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestConfig_KeepsItsKey(t *testing.T) {
	cfg := config("127.0.0.1:9090")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", cfg)
	if all := fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, log.String()); strings.Contains(all, testKey) {
		t.Error(all)
	}
}
