package connectortest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// stepOf finds what a request was made of.
func (s *suite) stepOf(r received, steps []connectors.Step) (connectors.Step, bool) {
	if s.Key == nil {
		return steps[0], len(steps) == 1
	}
	key := s.Key(r.Request, r.body)
	for _, step := range steps {
		if key != "" && strings.HasPrefix(step.Key, key) {
			return step, true
		}
	}
	return connectors.Step{}, false
}

// redirects checks that no redirect is followed, to the same host or another.
func (s *suite) redirects(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			p, elsewhere := s.newPlatform(t), s.newPlatform(t)
			for _, target := range []string{"/elsewhere", elsewhere.URL} {
				before := p.count()
				p.answers(func(w http.ResponseWriter, _ received) {
					w.Header().Set("Location", target)
					w.WriteHeader(status)
				})
				if o := s.sendNew(t, t.Context(), s.New(t, p.URL)); o.Kind == kindDelivered {
					t.Errorf("a redirect is taken for DELIVERED")
				}
				if n := p.count() - before + elsewhere.count(); n != 1 {
					t.Errorf("one Send made %d requests: the redirect was followed", n)
				}
			}
		})
	}
}

// connection checks what becomes of a Send when the connection fails: whether the
// platform may have had an effect, and that nothing is sent twice.
func (s *suite) connection(t *testing.T) {
	expect := func(t *testing.T, o connectors.Outcome, want ...raffsyncv1.OutcomeKind) {
		t.Helper()
		if !slices.Contains(want, o.Kind) {
			t.Errorf("the outcome is %s (%s: %s); want %v", o.Kind, o.Rule, o.Reason, want)
		}
	}
	t.Run("Refused", func(t *testing.T) {
		p := s.newPlatform(t)
		p.Server.Close()
		expect(t, s.sendNew(t, t.Context(), s.New(t, p.URL)), kindTransient)
	})
	for _, broken := range []struct {
		name    string
		respond func(http.ResponseWriter)
	}{
		{"Reset", reset},
		{"Closed", func(w http.ResponseWriter) { raw(w, "") }},
		{"Not HTTP", func(w http.ResponseWriter) { raw(w, "\x16\x03\x01 <html>Bad Gateway\x00\r\n\r\n") }},
		{"Cut in the headers", func(w http.ResponseWriter) { raw(w, "HTTP/1.1 200 OK\r\nContent-Ty") }},
	} {
		t.Run(broken.name, func(t *testing.T) {
			p := s.newPlatform(t)
			p.answers(func(w http.ResponseWriter, _ received) { broken.respond(w) })
			expect(t, s.sendNew(t, t.Context(), s.New(t, p.URL)), kindUnknown)
			if n := p.count(); n != 1 {
				t.Errorf("one Send made %d requests", n)
			}
		})
	}
	// The status was the platform's word. Whether the rest matters depends on what
	// the connector reads from it.
	t.Run("Cut in the body", func(t *testing.T) {
		p := s.newPlatform(t)
		p.answers(func(w http.ResponseWriter, _ received) {
			raw(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\r\n{\"id\":")
		})
		expect(t, s.sendNew(t, t.Context(), s.New(t, p.URL)), kindDelivered, kindUnknown)
	})
	t.Run("Endless body", func(t *testing.T) {
		p := s.newPlatform(t)
		p.answers(func(w http.ResponseWriter, _ received) {
			block := []byte(strings.Repeat("x", 32<<10))
			for {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		})
		expect(t, s.sendNew(t, t.Context(), s.New(t, p.URL)), kindDelivered, kindUnknown)
	})
	// net/http sends a POST with an Idempotency-Key again by itself when a kept
	// connection breaks.
	t.Run("Kept connection breaks", func(t *testing.T) {
		p := s.newPlatform(t)
		d := s.New(t, p.URL)
		var sends int
		for range 3 {
			p.answers(s.success)
			expect(t, s.sendNew(t, t.Context(), d), kindDelivered)
			p.answers(func(w http.ResponseWriter, _ received) { raw(w, "") })
			expect(t, s.sendNew(t, t.Context(), d), kindUnknown)
			if sends += 2; p.count() != sends {
				t.Fatalf("%d Sends made %d requests: one was sent again unseen", sends, p.count())
			}
		}
	})
}

// context checks that Send ends when its context does, and knows then whether the
// platform may have had an effect.
func (s *suite) context(t *testing.T) {
	t.Run("Cancelled before", func(t *testing.T) {
		p := s.newPlatform(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if o := s.sendNew(t, ctx, s.New(t, p.URL)); o.Kind != kindTransient {
			t.Errorf("the outcome is %s; nothing was sent, so it surely had no effect: TRANSIENT", o.Kind)
		}
		if n := p.count(); n != 0 {
			t.Errorf("a Send whose context had ended made %d requests", n)
		}
	})
	t.Run("Cancelled meanwhile", func(t *testing.T) {
		p := s.newPlatform(t)
		came := p.hang()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-came
			cancel()
		}()
		if o := s.sendNew(t, ctx, s.New(t, p.URL)); o.Kind != kindUnknown {
			t.Errorf("the outcome is %s; the request had arrived: UNKNOWN_OUTCOME", o.Kind)
		}
	})
	t.Run("Deadline", func(t *testing.T) {
		p := s.newPlatform(t)
		came := p.hang()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		o := s.sendNew(t, ctx, s.New(t, p.URL))
		select {
		case <-came:
			if o.Kind != kindUnknown {
				t.Errorf("the outcome is %s; the request had arrived: UNKNOWN_OUTCOME", o.Kind)
			}
		default:
			t.Logf("this machine was too slow to send anything in time: %s", o.Kind)
		}
		if n := p.count(); n > 1 {
			t.Errorf("one Send made %d requests", n)
		}
	})
}

// concurrent checks that one destination serves many goroutines, each with its own
// step, and that no two get mixed up.
func (s *suite) concurrent(t *testing.T) {
	const goroutines, each = 16, 8
	p := s.newPlatform(t)
	d := s.New(t, p.URL)
	// Without keys there is no telling which request is of which step.
	steps := []connectors.Step{s.newStep(d)}
	if s.Key != nil {
		for len(steps) < goroutines*each {
			steps = append(steps, s.newStep(d))
		}
	}
	var prepared, sent sync.WaitGroup
	prepared.Add(goroutines)
	for g := range goroutines {
		sent.Go(func() {
			var requests []connectors.Request
			for i := range each {
				request, err := d.Prepare(steps[(g*each+i)%len(steps)])
				if err != nil {
					t.Errorf("Prepare: %v", err)
					continue
				}
				requests = append(requests, request)
			}
			// All are prepared before any is sent: what a destination keeps between
			// the two gets mixed up for sure.
			prepared.Done()
			prepared.Wait()
			for _, request := range requests {
				o := d.Send(t.Context(), request)
				s.wellFormed(t, o)
				if o.Kind != kindDelivered {
					t.Errorf("the outcome is %s (%s)", o.Kind, o.Reason)
				}
			}
		})
	}
	sent.Wait()
	s.arrived(t, p, goroutines*each, steps...)
}
