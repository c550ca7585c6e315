package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors/simulator"
)

// script plays snapshots, one a poll, and stays at the last.
type script struct {
	steps []func(now time.Time) (Snapshot, error)
	at    int
}

func (s *script) Snapshot(context.Context) (Snapshot, error) {
	step := s.steps[min(s.at, len(s.steps)-1)]
	s.at++
	return step(time.Now())
}

type ledgers []simulator.Summary

func (l ledgers) Ledgers(context.Context) ([]simulator.Summary, error) {
	if l == nil {
		return nil, errors.New("connection refused")
	}
	return l, nil
}

func snapshot(change func(*Snapshot, time.Time)) func(time.Time) (Snapshot, error) {
	return func(now time.Time) (Snapshot, error) {
		s := Snapshot{Accepted: 118, Counts: Counts{Delivered: 109, Waiting: 3, NeedsAction: 6}}
		for _, e := range theThree {
			s.Destinations = append(s.Destinations, Destination{Name: e.Name, Breaker: Breaker{State: BreakerClosed}})
		}
		if change != nil {
			change(&s, now)
		}
		return s, nil
	}
}

func breaker(state BreakerState) func(time.Time) (Snapshot, error) {
	return snapshot(func(s *Snapshot, now time.Time) {
		s.Destinations[1].Breaker = Breaker{state, "503 ×5", now.Add(7500 * time.Millisecond)}
		s.Destinations[1].Waiting = 42
	})
}

func exception(held int64) func(time.Time) (Snapshot, error) {
	return snapshot(func(s *Snapshot, _ time.Time) {
		s.Exceptions = []Exception{{"x1", "stock", "422 unknown_sku, \x1b[2Jlines[0].sku", held, ""}}
	})
}

func many(s *Snapshot, _ time.Time) {
	for _, id := range "abcdefgh" {
		s.Exceptions = append(s.Exceptions, Exception{string(id), "books", "400 bad_date", 1, ""})
	}
}

func wordy(s *Snapshot, _ time.Time) {
	s.Exceptions = []Exception{{"x1", "books", strings.Repeat("the platform says much ", 20), 1, ""}}
}

func failing(time.Time) (Snapshot, error) { return Snapshot{}, errors.New("no database") }

func TestScreen(t *testing.T) {
	counted := ledgers{{Effects: 100}, {Effects: 9}}
	for _, test := range []struct {
		name    string
		seconds int
		colour  bool
		ledgers ledgers
		steps   []func(time.Time) (Snapshot, error)
	}{
		{"totals", 21, false, counted, []func(time.Time) (Snapshot, error){snapshot(nil)}},
		{"duplicates", 11, true, ledgers{{Effects: 100, Duplicates: 1}, {Effects: 9, Duplicates: 1}}, []func(time.Time) (Snapshot, error){snapshot(nil)}},
		{"ledgers-away", 11, false, nil, []func(time.Time) (Snapshot, error){snapshot(nil)}},
		{"breaker", 9, false, counted, []func(time.Time) (Snapshot, error){
			breaker(BreakerClosed), breaker(BreakerOpen), breaker(BreakerOpen), breaker(BreakerHalfOpen),
			breaker(BreakerOpen), breaker(BreakerHalfOpen), breaker(BreakerClosed), breaker(BreakerClosed),
		}},
		{"exception", 9, true, counted, []func(time.Time) (Snapshot, error){
			snapshot(nil), exception(1), exception(6), exception(9), exception(12), exception(13), exception(24),
		}},
		{"many-exceptions", 3, false, counted, []func(time.Time) (Snapshot, error){snapshot(many)}},
		{"wordy", 3, false, counted, []func(time.Time) (Snapshot, error){snapshot(wordy)}},
		{"no-figures", 9, false, counted, []func(time.Time) (Snapshot, error){
			snapshot(nil), failing, failing, snapshot(nil), failing, snapshot(nil),
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				s := NewScreen(ScreenConfig{
					Out: &out, Figures: &script{steps: test.steps}, Ledgers: test.ledgers,
					Location: time.UTC, Colour: test.colour,
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(test.seconds)*time.Second+time.Millisecond)
				defer cancel()
				if err := s.Run(ctx); err != nil {
					t.Error(err)
				}
				golden(t, "screen-"+test.name, out.String())
			})
		})
	}
}

func TestScreen_Welcome(t *testing.T) {
	var out bytes.Buffer
	err := NewScreen(ScreenConfig{Out: &out}).Welcome(Welcome{
		Database: "Postgres 15 embedded, durable, data kept", Startup: 3140 * time.Millisecond,
		API: "http://127.0.0.1:8080", Login: "demo / 7hq2-kd9x", GRPC: "127.0.0.1:9090", KeyFile: ".raffsync/demo.key",
		Platforms: theThree, Story: "bin/raffsync story 1042", Map: "bin/raffsync mappings set stock sku LATTE-OAT=ITM-42 --reason new", Again: "make run", PID: 4711,
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "welcome", out.String())

	out.Reset()
	err = NewScreen(ScreenConfig{Out: &out}).Welcome(Welcome{
		Database: "Postgres of yours", Startup: time.Second, API: "http://127.0.0.1:8080", Login: "demo / 7hq2-kd9x",
		GRPC: "127.0.0.1:9090", KeyFile: "s2/demo.key", Platforms: theThree,
		Story: "/opt/raffs/bin/raffsync story 1042 --state s2", Map: "/opt/raffs/bin/raffsync mappings set stock sku LATTE-OAT=ITM-42 --reason new --state s2", Again: "/opt/raffs/bin/raffsync demo --state s2", PID: 4711,
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "welcome-elsewhere", out.String())
}

func TestScreen_EndsWhereItCannotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		w.Close()
		s := NewScreen(ScreenConfig{Out: w, Figures: &script{steps: []func(time.Time) (Snapshot, error){snapshot(nil)}}, Ledgers: ledgers{}})
		if err := s.Run(t.Context()); err == nil {
			t.Error("no error")
		}
	})
}

func TestUseColour_NotInAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	if UseColour(w) {
		t.Error("colours go into a pipe")
	}
}

// golden compares with testdata/NAME.txt, and rewrites it where REWRITE is set.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if os.Getenv("REWRITE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}
