package outbox_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"raffsync/outbox"
)

// failed appends so many events to a destination, and has half of them wait for a retry
// and half held by one exception. Their ids begin with the prefix.
func (d *dispatcher) failed(prefix, destination string, n int) {
	s := d.shop
	s.t.Helper()
	w := s.writer()
	var entries []outbox.Entry
	for i := range n {
		entries = append(entries, s.entry(fmt.Sprint(prefix, i), fmt.Sprint("order/", i%97), destination))
	}
	s.append(w, entries...)
	d.fail(destination)
}

// fail has what is pending at a destination fail: what has an even number waits, what has
// an odd one is held.
func (d *dispatcher) fail(destination string) {
	d.shop.t.Helper()
	for {
		var all []outbox.Transition
		for i, delivery := range d.open(destination) {
			if delivery.State == outbox.Pending && len(all) < 500 {
				all = append(all, attempt(delivery, []string{outbox.StateWaiting, outbox.StateNeedsAction}[i%2]))
			}
		}
		if len(all) == 0 {
			return
		}
		if d.finish(all...) != len(all) {
			d.shop.t.Fatal("not all have failed")
		}
	}
}

func jobRequest(id string, action outbox.JobAction, f outbox.JobFilter) outbox.JobRequest {
	return outbox.JobRequest{RequestID: id, Action: action, Filter: f, Rate: outbox.MaxJobRate, Reason: "the platform is back"}
}

func (s *shop) startJob(q outbox.JobRequest) outbox.Job {
	s.t.Helper()
	j, err := s.StartJob(s.t.Context(), clerk, q)
	if err != nil {
		s.t.Fatal(err)
	}
	return j
}

// finishJobs steps until no job runs.
func (s *shop) finishJobs() {
	s.t.Helper()
	for one[int](s, `SELECT count(*) FROM jobs WHERE state = 'RUNNING'`) > 0 {
		if _, _, err := s.JobRunner().Step(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *shop) job(id int64) outbox.Job {
	s.t.Helper()
	j, err := s.Job(s.t.Context(), "kopi", id)
	if err != nil {
		s.t.Fatal(err)
	}
	return j
}

// consistent checks what every job must leave: counts are of what is there.
func (s *shop) consistent() {
	s.t.Helper()
	if n := one[int](s, `SELECT count(*) FROM exceptions x WHERE held <> (SELECT count(*) FROM holds h WHERE h.exception = x.id)`); n != 0 {
		s.t.Errorf("%d exceptions count otherwise than they hold", n)
	}
	if n := one[int](s, `SELECT count(*) FROM holds h LEFT JOIN deliveries d USING (lane, destination, seq) WHERE d.state IS DISTINCT FROM 2`); n != 0 {
		s.t.Errorf("%d holds of what is not held", n)
	}
	if got, want := one[int](s, `SELECT coalesce(sum(needs_action), 0)::int FROM tallies`), one[int](s, `SELECT count(*) FROM deliveries WHERE state = 2`); got != want {
		s.t.Errorf("the tallies count %d in need of action, %d are", got, want)
	}
	if n := one[int](s, `SELECT count(*) FROM job_members m JOIN jobs j ON j.id = m.job WHERE j.ended_at IS NOT NULL`); n != 0 {
		s.t.Errorf("%d members of jobs that have ended", n)
	}
}

func TestStore_StartJob(t *testing.T) {
	t.Parallel()
	fresh := newShop(t, "books", "stock")
	const n = 400
	for _, action := range []outbox.JobAction{outbox.JobRetry, outbox.JobReprocess, outbox.JobSkip} {
		t.Run(string(action), func(t *testing.T) {
			s := fresh.emptied(t)
			d := s.dispatcher()
			d.failed("e", "books", n)
			d.failed("s", "stock", 10)
			j := s.startJob(jobRequest("j1", action, outbox.JobFilter{Destination: "books"}))
			if j.State != outbox.JobRunning || j.Total != n || j.Done != 0 || j.Filter.Destination != "books" {
				t.Fatalf("started: %+v", j)
			}
			d.failed("later", "books", 20)
			s.finishJobs()
			if j = s.job(j.ID); j.State != outbox.JobDone || j.Done != n || j.Failed != 0 || j.EndedAt == nil {
				t.Fatalf("ended: %+v", j)
			}
			s.consistent()
			pending := one[int](s, `SELECT count(*) FROM deliveries WHERE state = 0`)
			left := one[int](s, `SELECT count(*) FROM deliveries WHERE state <> 0`)
			told := one[int](s, `SELECT count(*) FROM timeline WHERE what = lower($1) AND actor = 'ayu' AND reason = 'the platform is back' AND (detail->>'job')::bigint = $2`, string(action), j.ID)
			want := n
			if action == outbox.JobSkip {
				want = 0
				if skipped := one[int](s, `SELECT sum(skipped)::int FROM tallies`); skipped != n {
					t.Errorf("%d count as skipped", skipped)
				}
			}
			if pending != want || left != 30 || told != n {
				t.Errorf("%d are pending, %d others open, %d entries; want %d, 30, %d", pending, left, told, want, n)
			}
			// What waited gets a new key only when it is mapped again.
			risen := map[outbox.JobAction]int{outbox.JobRetry: n / 2, outbox.JobReprocess: n}[action]
			if got := one[int](s, `SELECT count(*) FROM deliveries WHERE revision = 1`); got != risen {
				t.Errorf("%d have a new revision, want %d", got, risen)
			}
			if got := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'job'`); got != 2 {
				t.Errorf("%d entries of the job itself, want of its start and its end", got)
			}
			if again := s.startJob(jobRequest("j1", action, outbox.JobFilter{Destination: "books"})); again.ID != j.ID || again.Done != n {
				t.Errorf("the same request again: %+v", again)
			}
		})
	}
}

func TestStore_StartJob_Filters(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books", "stock")
	d := s.dispatcher()
	d.failed("e", "books", 10)
	d.failed("s", "stock", 6)
	other := s.entry("other", "order/x", "books")
	other.Event.Type, other.Event.Outlet = "order.paid", "mall"
	s.append(s.writer(), other)
	d.fail("books")
	held := d.open("books")[1]
	exception := one[int64](s, `SELECT id FROM exceptions WHERE destination = $1`, s.destinations["stock"])
	soon := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		filter outbox.JobFilter
		total  int64
		held   int64
	}{
		"everything":         {outbox.JobFilter{Everything: true}, 17, 8},
		"destination":        {outbox.JobFilter{Destination: "books"}, 11, 5},
		"exception":          {outbox.JobFilter{Exception: exception}, 3, 3},
		"class":              {outbox.JobFilter{Class: "VALIDATION"}, 8, 8},
		"class of one":       {outbox.JobFilter{Class: "VALIDATION", Destination: "stock"}, 3, 3},
		"no such class":      {outbox.JobFilter{Class: "POISON"}, 0, 0},
		"state":              {outbox.JobFilter{State: outbox.StateWaiting}, 9, 0},
		"source":             {outbox.JobFilter{Source: "till"}, 17, 8},
		"type":               {outbox.JobFilter{Type: "order.paid"}, 1, 0},
		"outlet":             {outbox.JobFilter{Outlet: "mall"}, 1, 0},
		"accepted":           {outbox.JobFilter{AcceptedUntil: soon}, 17, 8},
		"accepted later":     {outbox.JobFilter{AcceptedFrom: soon}, 0, 0},
		"held":               {outbox.JobFilter{HeldUntil: soon}, 8, 8},
		"held later":         {outbox.JobFilter{HeldFrom: soon}, 0, 0},
		"named, one twice":   {outbox.JobFilter{Deliveries: []outbox.DeliveryID{deliveryID(held), deliveryID(held)}}, 1, 1},
		"named, of the past": {outbox.JobFilter{Deliveries: []outbox.DeliveryID{{Destination: 99}}}, 0, 0},
	} {
		p, err := s.PreviewJob(t.Context(), "kopi", test.filter)
		if err != nil || p.Total != test.total || p.NeedsAction != test.held || (p.First == nil) != (test.total == 0) || p.Taken != 0 {
			t.Errorf("%s: %+v, %v; want %d, %d of them held", name, p, err, test.total, test.held)
		}
		if p, err := s.PreviewJob(t.Context(), "teh", outbox.JobFilter{Everything: true}); err != nil || p.Total != 0 {
			t.Errorf("another tenant is shown %+v, %v", p, err)
		}
	}
	for name, q := range map[string]outbox.JobRequest{
		"no filter":          jobRequest("r", outbox.JobRetry, outbox.JobFilter{}),
		"narrow everything":  jobRequest("r", outbox.JobRetry, outbox.JobFilter{Everything: true, Destination: "books"}),
		"nothing matches":    jobRequest("r", outbox.JobRetry, outbox.JobFilter{Class: "POISON"}),
		"no such place":      jobRequest("r", outbox.JobRetry, outbox.JobFilter{Destination: "nowhere"}),
		"no such source":     jobRequest("r", outbox.JobRetry, outbox.JobFilter{Source: "nobody"}),
		"a state of success": jobRequest("r", outbox.JobRetry, outbox.JobFilter{State: outbox.StateDelivered}),
		"times reversed":     jobRequest("r", outbox.JobRetry, outbox.JobFilter{HeldFrom: soon, HeldUntil: soon}),
		"named and filtered": jobRequest("r", outbox.JobRetry, outbox.JobFilter{Class: "X", Deliveries: []outbox.DeliveryID{deliveryID(held)}}),
		"too many":           jobRequest("r", outbox.JobRetry, outbox.JobFilter{Deliveries: make([]outbox.DeliveryID, outbox.MostNamed+1)}),
		"a text with a NUL":  jobRequest("r", outbox.JobRetry, outbox.JobFilter{Type: "a\x00b"}),
		"another action":     jobRequest("r", "DELETE", outbox.JobFilter{Everything: true}),
		"no request id":      jobRequest("", outbox.JobRetry, outbox.JobFilter{Everything: true}),
		"no rate":            {RequestID: "r", Action: outbox.JobRetry, Filter: outbox.JobFilter{Everything: true}, Reason: "r"},
	} {
		var refusal *outbox.Refusal
		if j, err := s.StartJob(t.Context(), clerk, q); !errors.As(err, &refusal) || refusal.Field == "" {
			t.Errorf("%s: %+v, %v; want a refusal that names its field", name, j, err)
		}
	}
	if n := one[int](s, `SELECT count(*) FROM jobs`); n != 0 {
		t.Errorf("%d jobs of what was refused", n)
	}
}

func TestStore_StartJob_TwoOperators(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	d.failed("e", "books", 200)
	budi := outbox.Actor{Tenant: "kopi", Name: "budi"}
	half := s.startJob(jobRequest("half", outbox.JobSkip, outbox.JobFilter{State: outbox.StateWaiting}))
	if half.Total != 100 {
		t.Fatalf("%+v", half)
	}
	_, err := s.StartJob(t.Context(), budi, jobRequest("same", outbox.JobRetry, outbox.JobFilter{State: outbox.StateWaiting}))
	var conflict *outbox.JobConflict
	if !errors.As(err, &conflict) || !errors.Is(err, outbox.ErrConflict) || conflict.First.ID != half.ID || !strings.Contains(err.Error(), "ayu was first: job 1 (SKIP, RUNNING) has all 100 since ") {
		t.Errorf("the same for another: %v", err)
	}
	both, err := s.StartJob(t.Context(), budi, jobRequest("both", outbox.JobRetry, outbox.JobFilter{Destination: "books"}))
	if err != nil || both.Total != 200 || both.Failed != 100 {
		t.Fatalf("%+v, %v; want 100 of 200 left to the first", both, err)
	}
	failures, err := s.JobFailures(t.Context(), "kopi", both.ID, 0, 10)
	if err != nil || len(failures) != 10 || !strings.HasPrefix(failures[0].Reason, "ayu was first: job 1 (SKIP, RUNNING) has it since ") {
		t.Errorf("%+v, %v", failures, err)
	}
	if more, err := s.JobFailures(t.Context(), "kopi", both.ID, failures[9].Number, 1000); err != nil || len(more) != 90 {
		t.Errorf("%d more, %v", len(more), err)
	}
	s.finishJobs()
	if h, b := s.job(half.ID), s.job(both.ID); h.Done != 100 || b.Done != 100 || b.Failed != 100 || b.State != outbox.JobDone {
		t.Errorf("%+v\n%+v", h, b)
	}
	if n := one[int](s, `SELECT count(*) FROM (SELECT FROM timeline WHERE what IN ('retry', 'skip') GROUP BY event HAVING count(*) > 1) AS twice`); n != 0 {
		t.Errorf("%d were worked on twice", n)
	}
	s.consistent()

	// At the very same time, with runners of several processes.
	d.fail("books")
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, who := range []outbox.Actor{clerk, budi, clerk, budi} {
		wg.Go(func() {
			<-start
			_, err := s.StartJob(t.Context(), who, jobRequest(fmt.Sprint("race ", i), outbox.JobRetry, outbox.JobFilter{Destination: "books"}))
			var late *outbox.Refusal // all of it was done by another before this one asked
			if err != nil && !errors.Is(err, outbox.ErrConflict) && !errors.As(err, &late) {
				t.Error(err)
			}
			for range 100 {
				if _, _, err := s.JobRunner().Step(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	close(start)
	wg.Wait()
	s.finishJobs()
	if n := one[int](s, `SELECT sum(done)::int FROM jobs WHERE request_id LIKE 'race%'`); n != 100 {
		t.Errorf("%d were done, want each of the 100 once", n)
	}
	s.consistent()
}

// What has gone on since the click is left alone, and the result says who was first.
func TestJobRunner_LeavesAloneWhatHasChanged(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	d.failed("e", "books", 8)
	open := d.open("books")
	j := s.startJob(jobRequest("j", outbox.JobSkip, outbox.JobFilter{Destination: "books"}))
	retried := s.retry(open[1], "one of them")
	sent := *open[0]
	d.finish(attempt(&sent, outbox.StateDelivered))
	onTheWire := *open[2]
	d.intend(&onTheWire)
	// Held again, by the same cause, after the click.
	again := *open[3]
	s.retry(&again, "another of them")
	again.Version++
	d.finish(attempt(&again, outbox.StateNeedsAction))
	s.finishJobs()
	if j = s.job(j.ID); j.Done != 4 || j.Failed != 4 || j.State != outbox.JobDone {
		t.Errorf("%+v", j)
	}
	failures, err := s.JobFailures(t.Context(), "kopi", j.ID, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"it has gone on by itself: it is DELIVERED since ", "ayu was first: retry, PENDING since ", "a request of it was on the wire", "it has gone on by itself: it is NEEDS_ACTION since "} {
		found := false
		for _, f := range failures {
			found = found || f.Delivery.Event.Seq == open[i].Event && strings.HasPrefix(f.Reason, want)
		}
		if !found {
			t.Errorf("delivery %d: not %q among %+v", i, want, failures)
		}
	}
	if retried.State != "PENDING" || len(d.open("books")) != 3 {
		t.Errorf("%d are open, want those that had changed", len(d.open("books")))
	}
	s.consistent()
	named := jobRequest("named", outbox.JobRetry, outbox.JobFilter{Deliveries: []outbox.DeliveryID{deliveryID(open[0]), deliveryID(open[3])}})
	if n := s.startJob(named); n.Total != 2 || n.Failed != 1 {
		t.Errorf("%+v", n)
	}
}

// Five thousand, while new failures arrive; cancelled half-way, the rest is untouched.
func TestJobRunner_FiveThousand(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	s.seedFailed(5000)
	runner := s.JobRunner()
	q := jobRequest("all", outbox.JobReprocess, outbox.JobFilter{Destination: "books"})
	j := s.startJob(q)
	d := s.dispatcher()
	before := one[string](s, `SELECT md5(string_agg(d::text, '' ORDER BY seq)) FROM deliveries d WHERE lane >= 32`)
	for s.job(j.ID).Done < 2000 {
		if _, _, err := runner.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	paused, err := s.ChangeJob(t.Context(), clerk, j.ID, outbox.JobPaused, "let us see")
	if err != nil || paused.State != outbox.JobPaused {
		t.Fatalf("%+v, %v", paused, err)
	}
	if _, more, err := runner.Step(t.Context()); more || err != nil {
		t.Errorf("a paused job went on: %v, %v", more, err)
	}
	cancelled, err := s.ChangeJob(t.Context(), clerk, j.ID, outbox.JobCancelled, "enough")
	if err != nil || cancelled.State != outbox.JobCancelled || cancelled.Done >= 3000 || cancelled.EndedAt == nil {
		t.Fatalf("%+v, %v", cancelled, err)
	}
	if n := one[int](s, `SELECT count(*) FROM deliveries WHERE state = 2`); n != 5000-int(cancelled.Done) {
		t.Errorf("%d are held, %d were done", n, cancelled.Done)
	}
	if after := one[string](s, `SELECT md5(string_agg(d::text, '' ORDER BY seq)) FROM deliveries d WHERE lane >= 32`); after != before {
		t.Error("what was left has been touched")
	}
	s.consistent()
	_, err = s.ChangeJob(t.Context(), clerk, j.ID, outbox.JobRunning, "after all")
	var refusal *outbox.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("resumed after its end: %v", err)
	}
	if _, err := s.ChangeJob(t.Context(), outbox.Actor{Tenant: "teh", Name: "x"}, j.ID, outbox.JobPaused, "r"); !errors.Is(err, outbox.ErrNotFound) {
		t.Errorf("by another tenant: %v", err)
	}
	q.RequestID = "the rest"
	rest := s.startJob(q)
	if rest.Total != 5000-cancelled.Done {
		t.Fatalf("%+v", rest)
	}
	// New failures of the same cause arrive between its pages.
	w, late := s.writer(), 0
	for s.job(rest.ID).State == outbox.JobRunning { // also while its pace lets nothing go on
		if _, _, err := runner.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if late < 20 {
			e := s.entry(fmt.Sprint("late", late), fmt.Sprint("late/", late), "books")
			s.append(w, e)
			seq := one[int64](s, `SELECT seq FROM events WHERE id = $1`, e.Event.ID)
			for _, delivery := range d.open("books") {
				if int64(delivery.Seq) == seq {
					d.finish(attempt(delivery, outbox.StateNeedsAction))
				}
			}
			late++
		}
	}
	if rest = s.job(rest.ID); rest.State != outbox.JobDone || rest.Done != rest.Total || rest.Failed != 0 {
		t.Errorf("%+v", rest)
	}
	if n := one[int](s, `SELECT count(*) FROM deliveries WHERE state = 2`); n != late || late == 0 {
		t.Errorf("%d are held, want the %d that failed after the click", n, late)
	}
	s.consistent()
}

// seedFailed has so many deliveries to books held by one exception, without their story.
func (s *shop) seedFailed(n int) {
	s.t.Helper()
	s.exec(`
WITH x AS (INSERT INTO exceptions (tenant, class, destination, rule, code, field, held) VALUES ('kopi', 'VALIDATION', $2, 'status 422', 'unknown_sku', 'sku', $1) RETURNING id),
e AS (INSERT INTO events (tenant, seq, key_hash, source, lane, unrouted, occurred_at, id, type, ordering_key, outlet, content_type, payload)
  SELECT 'kopi', g, g, $3, g % 64, false, now(), 'e' || g, 'order.created', 'order/' || g, '', 'application/json', '{}' FROM generate_series(1, $1::int) g RETURNING seq, accepted_at, lane, key_hash),
d AS (INSERT INTO deliveries (seq, event, event_at, accepted_at, key_hash, exception, destination, lane, state, requests, tenant, route)
  SELECT seq, seq, accepted_at, accepted_at, key_hash, x.id, $2, lane, 2, 1, 'kopi', 'sales' FROM e, x RETURNING lane, destination, seq, exception),
h AS (INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT exception, lane, destination, seq, 'kopi' FROM d)
INSERT INTO tallies (tenant, destination, shard, accepted, needs_action) VALUES ('kopi', $2, 1, $1, $1)`, n, s.destinations["books"], s.source)
	s.exec(`ANALYZE`)
}
