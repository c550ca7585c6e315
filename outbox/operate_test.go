package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

func request(d *outbox.Delivery, id string) outbox.OperatorRequest {
	return outbox.OperatorRequest{RequestID: id, Delivery: deliveryID(d), ExpectedVersion: d.Version, Reason: "the SKU is known now"}
}

func (s *shop) retry(d *outbox.Delivery, id string) outbox.Operated {
	s.t.Helper()
	done, err := s.Retry(s.t.Context(), clerk, request(d, id))
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

func (s *shop) skip(d *outbox.Delivery, id string) outbox.Operated {
	s.t.Helper()
	done, err := s.Skip(s.t.Context(), clerk, request(d, id))
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

// both are the two transitions of an operator.
var both = map[string]func(*outbox.Store, context.Context, outbox.Actor, outbox.OperatorRequest) (outbox.Operated, error){
	"Retry": (*outbox.Store).Retry, "Skip": (*outbox.Store).Skip,
}

func TestStore_Retry(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	a := d.deliveryOf("a", "order/1", "books")
	d.intend(a)
	d.finish(attempt(a, outbox.StateNeedsAction))
	a = d.open("books")[0]
	done := s.retry(a, "request 1")
	if want := (outbox.Operated{State: "PENDING", Version: a.Version + 1, Lane: a.Lane}); done != want {
		t.Errorf("answer %+v, want %+v", done, want)
	}
	now := d.open("books")[0]
	if now.State != outbox.Pending || now.Attempts != 0 || now.Requests != 1 || now.UnknownAt != nil {
		t.Errorf("the delivery is %+v, want all its attempts before it, and its one request counted", now)
	}
	due, err := d.TakeDue(t.Context(), d.lanes, []outbox.LaneDestination{{Lane: a.Lane, Destination: a.Destination}}, 10)
	if err != nil || len(due) != 1 || due[0].Delivery == nil || due[0].Delivery.Version != now.Version {
		t.Errorf("due is %+v, %v; want the delivery", due, err)
	}
	if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'retry' AND state = 'PENDING' AND actor = 'ayu' AND reason = 'the SKU is known now' AND event = $1`, a.Event); n != 1 {
		t.Errorf("%d entries of it, want 1", n)
	}
}

func TestStore_Skip(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	a := d.deliveryOf("a", "order/1", "books")
	d.deliveryOf("b", "order/1", "books")
	done := s.skip(a, "request 1")
	if want := (outbox.Operated{State: "SKIPPED", Lane: a.Lane}); done != want {
		t.Errorf("answer %+v, want %+v", done, want)
	}
	if left := d.open("books"); len(left) != 1 || left[0].Seq == a.Seq {
		t.Errorf("%d deliveries are open, want the one behind it", len(left))
	}
	due, err := d.TakeDue(t.Context(), d.lanes, []outbox.LaneDestination{{Lane: a.Lane, Destination: a.Destination}}, 10)
	if err != nil || len(due) != 1 || due[0].Delivery != nil || due[0].Seq != a.Seq || due[0].KeyHash != a.KeyHash {
		t.Errorf("due is %+v, %v; want word that it is gone", due, err)
	}
	if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'skip' AND state = 'SKIPPED' AND actor = 'ayu' AND event = $1`, a.Event); n != 1 {
		t.Errorf("%d entries of it, want 1", n)
	}
	if n := one[int](s, `SELECT skipped::int FROM tallies WHERE skipped <> 0`); n != 1 {
		t.Errorf("the tallies count %d, want 1", n)
	}
	_, err = s.Skip(t.Context(), clerk, request(a, "request 2"))
	var refusal *outbox.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("a second skip: %v, want a refusal", err)
	}
}

func TestStore_Operate(t *testing.T) {
	t.Parallel()
	for name, operate := range both {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, "books")
			d := s.dispatcher()
			failed := func(id, key string) *outbox.Delivery {
				t.Helper()
				a := d.deliveryOf(id, key, "books")
				d.finish(attempt(a, outbox.StateWaiting))
				a.Version++
				return a
			}

			t.Run("IsRefusedWhileARequestIsOnTheWire", func(t *testing.T) {
				a := d.deliveryOf("a", "order/1", "books")
				d.intend(a)
				_, err := operate(s.Store, t.Context(), clerk, request(a, name+"/sending"))
				var refusal *outbox.Refusal
				if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, "on the wire") {
					t.Fatalf("error %v, want a refusal", err)
				}
				d.finish(attempt(a, outbox.StateWaiting))
				a.Version++
				if _, err := operate(s.Store, t.Context(), clerk, request(a, name+"/sending")); err != nil {
					t.Errorf("after the outcome is stored: %v", err)
				}
			})

			t.Run("WantsTheVersionThatTheActorSaw", func(t *testing.T) {
				a := failed("b", "order/2")
				q := request(a, name+"/version")
				q.ExpectedVersion++
				if _, err := operate(s.Store, t.Context(), clerk, q); !errors.Is(err, outbox.ErrConflict) {
					t.Errorf("error %v, want a conflict", err)
				}
			})

			t.Run("AnswersARepeatAsTheFirstTime", func(t *testing.T) {
				a := failed("c", "order/3")
				before := one[int](s, `SELECT count(*) FROM timeline`)
				first, err := operate(s.Store, t.Context(), clerk, request(a, name+"/repeat"))
				if err != nil {
					t.Fatal(err)
				}
				again, err := operate(s.Store, t.Context(), clerk, request(a, name+"/repeat"))
				if err != nil || again != first {
					t.Errorf("the repeat answers %+v, %v; want %+v", again, err, first)
				}
				if n := one[int](s, `SELECT count(*) FROM timeline`); n != before+1 {
					t.Errorf("%d entries, want 1", n-before)
				}
			})

			t.Run("AnswersRepeatsThatComeAtOnce", func(t *testing.T) {
				a := failed("d", "order/4")
				answers, errs := make([]outbox.Operated, 8), make([]error, 8)
				var all sync.WaitGroup
				for i := range answers {
					all.Go(func() { answers[i], errs[i] = operate(s.Store, t.Context(), clerk, request(a, name+"/at once")) })
				}
				all.Wait()
				for i := range answers {
					if errs[i] != nil || answers[i] != answers[0] {
						t.Errorf("answer %d: %+v, %v; want %+v", i, answers[i], errs[i], answers[0])
					}
				}
			})

			t.Run("RefusesAnotherRequestUnderTheSameID", func(t *testing.T) {
				a := failed("e", "order/5")
				b := failed("f", "order/6")
				if _, err := operate(s.Store, t.Context(), clerk, request(a, name+"/id")); err != nil {
					t.Fatal(err)
				}
				otherReason := request(a, name+"/id")
				otherReason.Reason = "for another reason"
				for what, q := range map[string]outbox.OperatorRequest{"another delivery": request(b, name+"/id"), "another reason": otherReason} {
					_, err := operate(s.Store, t.Context(), clerk, q)
					var refusal *outbox.Refusal
					if !errors.As(err, &refusal) || refusal.Field != "requestId" {
						t.Errorf("%s: %v, want a refusal of the request id", what, err)
					}
				}
			})

			t.Run("TellsWhatHasEndedFromWhatNeverWas", func(t *testing.T) {
				a := failed("ended", "order/ended")
				if _, err := s.Skip(t.Context(), clerk, request(a, name+"/end")); err != nil {
					t.Fatal(err)
				}
				_, err := operate(s.Store, t.Context(), clerk, request(a, name+"/ended"))
				var refusal *outbox.Refusal
				if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, "it is SKIPPED") {
					t.Errorf("what has ended: %v", err)
				}
				for what, change := range map[string]func(*outbox.DeliveryID){
					"no such destination": func(id *outbox.DeliveryID) { id.Destination = 999 },
					"no such replay":      func(id *outbox.DeliveryID) { id.Replay = 7 },
				} {
					q := request(a, name+"/"+what)
					change(&q.Delivery)
					if _, err := operate(s.Store, t.Context(), clerk, q); !errors.Is(err, outbox.ErrNotFound) {
						t.Errorf("%s: %v, want that there is none", what, err)
					}
				}
			})

			t.Run("FindsNothingOfAnotherTenant", func(t *testing.T) {
				a := failed("g", "order/7")
				stranger := outbox.Actor{Tenant: "teh", Name: "budi"}
				if _, err := operate(s.Store, t.Context(), stranger, request(a, name+"/stranger")); !errors.Is(err, outbox.ErrNotFound) {
					t.Errorf("error %v, want that there is none", err)
				}
				if now := d.open("books"); now[len(now)-1].Version != a.Version {
					t.Error("the delivery was changed")
				}
			})

			t.Run("WantsAReasonAndARequestID", func(t *testing.T) {
				a := failed("h", "order/8")
				for what, change := range map[string]func(*outbox.OperatorRequest){
					"no reason":            func(q *outbox.OperatorRequest) { q.Reason = " " },
					"a long reason":        func(q *outbox.OperatorRequest) { q.Reason = strings.Repeat("x", 501) },
					"no text":              func(q *outbox.OperatorRequest) { q.Reason = "\xff" },
					"a NUL":                func(q *outbox.OperatorRequest) { q.Reason = "a\x00b" },
					"no request id":        func(q *outbox.OperatorRequest) { q.RequestID = "" },
					"a long request id":    func(q *outbox.OperatorRequest) { q.RequestID = strings.Repeat("x", 101) },
					"a delivery of naught": func(q *outbox.OperatorRequest) { q.Delivery.Event.Seq = 1 },
				} {
					q := request(a, name+"/invalid")
					change(&q)
					if _, err := operate(s.Store, t.Context(), clerk, q); err == nil {
						t.Errorf("%s was taken", what)
					}
				}
			})
		})
	}
}

// It goes by itself; were it set free, nothing would be different but for the record.
func TestStore_RetryRefusesWhatHasNotFailed(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	a := s.dispatcher().deliveryOf("a", "order/1", "books")
	var refusal *outbox.Refusal
	if _, err := s.Retry(t.Context(), clerk, request(a, "request 1")); !errors.As(err, &refusal) {
		t.Errorf("error %v, want a refusal", err)
	}
}

func TestStore_OperateResolvesTheExceptionWithItsLast(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	for i := range 3 {
		a := d.deliveryOf(fmt.Sprint("e", i), fmt.Sprint("order/", i), "books")
		d.intend(a)
		d.finish(attempt(a, outbox.StateNeedsAction))
	}
	held := d.open("books")
	s.retry(held[0], "request 0")
	s.skip(held[1], "request 1")
	type exception struct {
		Held   int64
		Status string
		Closed bool
	}
	now := func() exception {
		var e exception
		if err := s.db.QueryRow(t.Context(), `SELECT held, status, closed_at IS NOT NULL FROM exceptions`).Scan(&e.Held, &e.Status, &e.Closed); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if diff := cmp.Diff(exception{1, "NEEDS_ACTION", false}, now()); diff != "" {
		t.Errorf("with one left (-want +got):\n%s", diff)
	}
	s.retry(held[2], "request 2")
	if diff := cmp.Diff(exception{0, "RESOLVED", true}, now()); diff != "" {
		t.Errorf("with none left (-want +got):\n%s", diff)
	}
	if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'resolved' AND actor = 'ayu'`); n != 1 {
		t.Errorf("%d resolved entries, want 1", n)
	}
	if n := one[int](s, `SELECT (SELECT count(*) FROM holds) + sum(needs_action)::int FROM tallies`); n != 0 {
		t.Errorf("%d are still counted as held", n)
	}
	// The same cause again is a new exception.
	a := d.open("books")[0]
	d.intend(a)
	d.finish(attempt(a, outbox.StateNeedsAction))
	if n := one[int](s, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL`); n != 1 {
		t.Errorf("%d open exceptions, want a new one", n)
	}
}

// Operators who retry and skip what one exception holds, all at once, wait for each
// other and never in a circle.
func TestStore_OperateDoesNotDeadlock(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	const n = 24
	for i := range n {
		a := d.deliveryOf(fmt.Sprint("e", i), fmt.Sprint("order/", i), "books")
		d.intend(a)
		d.finish(attempt(a, outbox.StateNeedsAction))
	}
	var all sync.WaitGroup
	for i, held := range d.open("books") {
		operate := both["Retry"]
		if i%2 == 1 {
			operate = both["Skip"]
		}
		all.Go(func() {
			if _, err := operate(s.Store, t.Context(), clerk, request(held, fmt.Sprint("request ", i))); err != nil {
				t.Errorf("delivery %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if n := one[int](s, `SELECT count(*) FROM exceptions WHERE status = 'RESOLVED' AND held = 0`); n != 1 {
		t.Error("the exception is not resolved")
	}
}
