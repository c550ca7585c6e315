package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// everything is wanted by one route.
func everything(string, int32, *outbox.Event) (string, bool) { return "again", true }

func (s *shop) replayer(route outbox.Router) *outbox.Replayer {
	s.t.Helper()
	p := s.OpenReplayer(5, func(context.Context) (outbox.Router, error) { return route, nil })
	s.t.Cleanup(func() { p.Close(s.t.Context()) })
	return p
}

func (s *shop) startReplay(q outbox.ReplayRequest) outbox.Replay {
	s.t.Helper()
	r, err := s.StartReplay(s.t.Context(), clerk, q)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// finishReplays steps until no replay runs.
func (s *shop) finishReplays(p *outbox.Replayer) {
	s.t.Helper()
	s.until(`SELECT now() - interval '2 seconds' > (SELECT max(accepted_at) FROM events)`) // settled
	for one[int](s, `SELECT count(*) FROM replays WHERE state = 'RUNNING'`) > 0 {
		if _, _, err := p.Step(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

func replayAgain(id string) outbox.ReplayRequest {
	return outbox.ReplayRequest{
		RequestID: id, Destination: "stock", Rate: outbox.MaxReplayRate, Reason: "stock is new here",
		Filter: outbox.ReplayFilter{From: time.Now().Add(-time.Hour)},
	}
}

// replayedTo are the ids of the events that a replay made deliveries of, in their order.
func (s *shop) replayedTo(destination string) []string {
	s.t.Helper()
	return column[string](s, `SELECT e.id FROM deliveries d JOIN events e ON e.seq = d.event WHERE d.replay > 0 AND d.destination = $1 ORDER BY d.accepted_at, d.seq`, s.destinations[destination])
}

func TestReplayer(t *testing.T) {
	t.Parallel()
	fresh := newShop(t, "books", "stock")

	t.Run("MakesNewDeliveriesInTheOrderOfAcceptance", func(t *testing.T) {
		s := fresh.emptied(t)
		first, second := s.writer(), s.writer()
		var want []string
		for i := range 300 { // more than a page, by two writers in turn
			id := fmt.Sprint("e", i)
			want = append(want, id)
			s.append([]*outbox.Writer{first, second}[i%2], s.entry(id, fmt.Sprint("order/", i%7), "books"))
		}
		r := s.startReplay(replayAgain("r1"))
		s.append(first, s.entry("later", "order/1", "books")) // after the request
		s.finishReplays(s.replayer(everything))
		if got := s.replayedTo("stock"); !slices.Equal(got, want) {
			t.Fatalf("%d replayed: %v", len(got), got)
		}
		all, err := s.Replays(t.Context(), "kopi", 0, 10)
		if err != nil || len(all) != 1 || all[0].State != outbox.ReplayDone || all[0].Made != 300 || all[0].Number != r.Number || all[0].EndedAt == nil {
			t.Errorf("%+v, %v", all, err)
		}
		if got := one[string](s, `SELECT count(*) FILTER (WHERE event IS NOT NULL AND state = 'PENDING' AND reason = 'stock is new here' AND actor = 'ayu') || ' ' || count(*) FILTER (WHERE event IS NULL) FROM timeline WHERE what = 'replay'`); got != "300 2" {
			t.Errorf("entries of deliveries and of the replay: %s", got)
		}
		if n := one[int](s, `SELECT sum(accepted) FROM tallies WHERE destination = $1`, s.destinations["stock"]); n != 300 {
			t.Errorf("the destination counts %d", n)
		}
		// They are read, in order, and a person can end one.
		d := s.dispatcher()
		open := d.open("stock")
		if len(open) != 300 || open[0].Replay != r.Number || open[0].Route != "again" || open[0].Seq == open[0].Event {
			t.Fatalf("%d are read, first %+v", len(open), open[0])
		}
		if _, err := s.Skip(t.Context(), clerk, request(open[0], "not this one")); err != nil {
			t.Error(err)
		}
		if len(d.open("stock")) != 299 {
			t.Error("the skipped one is still open")
		}
	})

	t.Run("FiltersAndAsksTheRoutes", func(t *testing.T) {
		s := fresh.emptied(t)
		w := s.writer()
		unrouted := s.entry("unrouted", "order/1")
		other, unwanted := s.entry("other", "order/2", "books"), s.entry("unwanted", "order/3", "books")
		other.Event.Type, other.Event.Outlet = "stock.moved", "mall"
		other.Event.References = map[string]string{"order": "1042"}
		s.append(w, unrouted, other, unwanted)
		some := func(_ string, _ int32, e *outbox.Event) (string, bool) { return "again", e.ID != "unwanted" }
		for name, test := range map[string]struct {
			filter outbox.ReplayFilter
			want   []string
		}{
			"all":       {outbox.ReplayFilter{}, []string{"unrouted", "other"}},
			"unrouted":  {outbox.ReplayFilter{Unrouted: true}, []string{"unrouted"}},
			"type":      {outbox.ReplayFilter{Type: "stock.moved"}, []string{"other"}},
			"outlet":    {outbox.ReplayFilter{Outlet: "mall"}, []string{"other"}},
			"reference": {outbox.ReplayFilter{Reference: "1042"}, []string{"other"}},
			"source":    {outbox.ReplayFilter{Source: "till", Type: "none"}, nil},
		} {
			s.exec(`DELETE FROM deliveries WHERE replay > 0`)
			q := replayAgain(name)
			test.filter.From, test.filter.Until = q.Filter.From, time.Time{}
			q.Filter = test.filter
			preview, err := s.PreviewReplay(t.Context(), "kopi", "stock", q.Filter, 1000, some)
			if err != nil || int(preview.Matching) != len(test.want) || !preview.Complete || (preview.First == nil) != (test.want == nil) {
				t.Errorf("%s: preview %+v, %v", name, preview, err)
			}
			s.startReplay(q)
			s.finishReplays(s.replayer(some))
			got := s.replayedTo("stock")
			if test.want == nil {
				test.want = got[:0]
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})

	// What an apply before the request brought counts for the first page already.
	t.Run("AsksForTheRoutesOnceItHoldsAReplay", func(t *testing.T) {
		s := fresh.emptied(t)
		s.append(s.writer(), s.entry("e1", "order/1", "books"))
		s.startReplay(replayAgain("r1"))
		held := false
		p := s.OpenReplayer(5, func(ctx context.Context) (outbox.Router, error) {
			n := one[int](s, `SELECT count(*) FROM (SELECT FROM replays FOR UPDATE SKIP LOCKED) AS free`)
			held = n == 0
			return everything, nil
		})
		defer p.Close(t.Context())
		if s.finishReplays(p); !held || len(s.replayedTo("stock")) != 1 {
			t.Errorf("held %t, replayed %v", held, s.replayedTo("stock"))
		}
	})

	t.Run("OnePageIsMadeOnceWhateverHappens", func(t *testing.T) {
		s := fresh.emptied(t)
		w := s.writer()
		for i := range 40 {
			s.append(w, s.entry(fmt.Sprint("e", i), fmt.Sprint("order/", i), "books"))
		}
		s.startReplay(replayAgain("r1"))
		s.until(`SELECT now() - interval '2 seconds' > (SELECT max(accepted_at) FROM events)`)
		done := make(chan error)
		for range 3 { // processes that share it
			p := s.replayer(everything)
			go func() {
				var err error
				for range 50 {
					if _, _, err = p.Step(t.Context()); err != nil {
						break
					}
				}
				done <- err
			}()
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		s.finishReplays(s.replayer(everything))
		if n := len(s.replayedTo("stock")); n != 40 {
			t.Errorf("%d deliveries of 40 events", n)
		}
	})

	t.Run("KeepsItsPaceAndCanBeHeld", func(t *testing.T) {
		s := fresh.emptied(t)
		w := s.writer()
		for i := range 10 {
			s.append(w, s.entry(fmt.Sprint("e", i), "order/1", "books"))
		}
		q := replayAgain("r1")
		q.Rate = 1
		r := s.startReplay(q)
		s.until(`SELECT now() - interval '2 seconds' > (SELECT max(accepted_at) FROM events)`)
		p := s.replayer(everything)
		for range 5 {
			if _, _, err := p.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if made := one[int](s, `SELECT made FROM replays`); made < 1 || made > 5 {
			t.Errorf("%d made by five steps at once, at one a second", made)
		}
		change := func(to string) error {
			_, err := s.ChangeReplay(t.Context(), clerk, r.Number, to, "a reason")
			return err
		}
		if err := change(outbox.ReplayPaused); err != nil {
			t.Fatal(err)
		}
		before := one[int](s, `SELECT made FROM replays`)
		s.exec(`UPDATE replays SET next_at = now()`)
		if _, _, err := p.Step(t.Context()); err != nil || one[int](s, `SELECT made FROM replays`) != before {
			t.Errorf("it goes on while it is paused (%v)", err)
		}
		if err := errors.Join(change(outbox.ReplayRunning), change(outbox.ReplayRunning), change(outbox.ReplayCancelled)); err != nil {
			t.Error(err)
		}
		var refusal *outbox.Refusal
		if err := change(outbox.ReplayRunning); !errors.As(err, &refusal) {
			t.Errorf("what is cancelled runs on: %v", err)
		}
		if _, err := s.ChangeReplay(t.Context(), outbox.Actor{Tenant: "teh", Name: "x"}, r.Number, outbox.ReplayPaused, "r"); !errors.Is(err, outbox.ErrNotFound) {
			t.Errorf("by another tenant: %v", err)
		}
	})

	t.Run("ARepeatedRequestReturnsTheFirst", func(t *testing.T) {
		s := fresh.emptied(t)
		q := replayAgain("r1")
		first, second := s.startReplay(q), s.startReplay(q)
		if first.Number != second.Number || one[int](s, `SELECT count(*) FROM replays`) != 1 {
			t.Errorf("replays %d and %d", first.Number, second.Number)
		}
		var refusal *outbox.Refusal
		q.Rate = 7
		if _, err := s.StartReplay(t.Context(), clerk, q); !errors.As(err, &refusal) || refusal.Field != "requestId" {
			t.Errorf("another request by the same id: %v", err)
		}
		for field, q := range map[string]outbox.ReplayRequest{
			"destination": {RequestID: "x", Destination: "nowhere", Rate: 1, Reason: "r", Filter: q.Filter},
			"rate":        {RequestID: "x", Destination: "stock", Rate: 0, Reason: "r", Filter: q.Filter},
			"from":        {RequestID: "x", Destination: "stock", Rate: 1, Reason: "r"},
			"reason":      {RequestID: "x", Destination: "stock", Rate: 1, Filter: q.Filter},
		} {
			if _, err := s.StartReplay(t.Context(), clerk, q); !errors.As(err, &refusal) || refusal.Field != field {
				t.Errorf("%s: %v", field, err)
			}
		}
	})
}

func TestStore_Redirect(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books", "stock")
	c := configuration("kopi", "books", "stock")
	c.Routes = []outbox.RouteConfig{{Name: "sales", To: "books"}, {Name: "spare", To: "stock", When: "false"}}
	s.apply(c)
	d := s.dispatcher()
	d.failed("e", "books", 6) // all accepted at one time
	open := d.open("books")
	never := func(string, int32, *outbox.Event) (string, bool) { return "", false }
	ask := func(a *outbox.Delivery, id, to, route string) outbox.RedirectRequest {
		return outbox.RedirectRequest{OperatorRequest: request(a, id), To: to, Route: route}
	}
	for name, test := range map[string]struct {
		q     outbox.RedirectRequest
		route outbox.Router
		field string
	}{
		"nowhere":            {ask(open[0], "x", "shelf", ""), everything, "to"},
		"where it is":        {ask(open[0], "x", "books", ""), everything, "to"},
		"no route wants it":  {ask(open[0], "x", "stock", ""), never, "to"},
		"no such route":      {ask(open[0], "x", "stock", "none"), everything, "route"},
		"a route elsewhere":  {ask(open[0], "x", "stock", "sales"), everything, "route"},
		"without request id": {ask(open[0], "", "stock", ""), everything, "requestId"},
	} {
		var refusal *outbox.Refusal
		if _, err := s.Redirect(t.Context(), clerk, test.q, test.route); !errors.As(err, &refusal) || refusal.Field != test.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.exec(`UPDATE deliveries SET unknown_at = now() WHERE seq = $1`, open[4].Seq)
	s.exec(`UPDATE deliveries SET step = 1 WHERE seq = $1`, open[5].Seq)
	for i, says := range map[int]string{4: "may have had its effect", 5: "an earlier step is done"} {
		if _, err := s.Redirect(t.Context(), clerk, ask(open[i], "x", "stock", ""), everything); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("delivery %d: %v, want %q", i, err, says)
		}
	}
	old := *open[1]
	old.Version--
	if _, err := s.Redirect(t.Context(), clerk, ask(&old, "x", "stock", ""), everything); !errors.Is(err, outbox.ErrConflict) {
		t.Errorf("by an old version: %v", err)
	}
	if n := one[int](s, `SELECT count(*) FROM replays`) + 6 - len(d.open("books")); n != 0 {
		t.Errorf("%d were redirected by what was refused", n)
	}

	q := ask(open[1], "r1", "stock", "")
	first, err := s.Redirect(t.Context(), clerk, q, everything)
	if err != nil || first.Replay == 0 || first.Route != "again" {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := s.Redirect(t.Context(), clerk, q, never); err != nil || again != first {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	if named, err := s.Redirect(t.Context(), clerk, ask(open[2], "r2", "stock", "spare"), never); err != nil || named.Route != "spare" {
		t.Errorf("by a route that is named: %+v, %v", named, err)
	}
	s.finishReplays(s.replayer(never))
	if got := s.replayedTo("stock"); !slices.Equal(got, []string{"e1", "e2"}) {
		t.Errorf("stock gets %v", got)
	}
	if got := column[string](s, `SELECT route FROM deliveries WHERE replay > 0 ORDER BY event`); !slices.Equal(got, []string{"again", "spare"}) {
		t.Errorf("by %v", got)
	}
	if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'skip' AND state = 'SKIPPED' AND actor = 'ayu' AND reason = 'redirected to stock: the SKU is known now'`); n != 2 {
		t.Errorf("%d entries of the skip", n)
	}
	s.consistent()
	if _, err := s.Redirect(t.Context(), clerk, ask(open[1], "r3", "stock", ""), everything); err == nil || !strings.Contains(err.Error(), "it is SKIPPED") {
		t.Errorf("redirected twice: %v", err)
	}
}
