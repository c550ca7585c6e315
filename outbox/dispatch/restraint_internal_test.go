package dispatch

import (
	"testing"
	"time"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestRestraint_Note(t *testing.T) {
	t.Parallel()
	const (
		delivered   = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
		transient   = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
		limited     = raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED
		quota       = raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA
		unknown     = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
		validation  = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
		unspecified = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED
	)
	type answer struct {
		at    time.Duration // since the first one
		kind  raffsyncv1.OutcomeKind
		asked time.Duration
	}
	const s, ms = time.Second, time.Millisecond
	for name, c := range map[string]struct {
		answers []answer
		until   time.Duration // 0: not at all
	}{
		"LimitedAndSaysHowLong":         {[]answer{{0, limited, 7 * s}}, 7 * s},
		"QuotaAndSaysHowLong":           {[]answer{{0, quota, time.Hour}}, time.Hour},
		"LimitedAndSaysNothing":         {[]answer{{0, limited, 0}}, s},
		"QuotaAndSaysNothing":           {[]answer{{0, quota, 0}}, s},
		"AgainTwiceAsLong":              {[]answer{{0, limited, 0}, {s, limited, 0}}, 3 * s},
		"AndAgain":                      {[]answer{{0, limited, 0}, {s, quota, 0}, {3 * s, limited, 0}}, 7 * s},
		"WhatWasOnTheWireAlready":       {[]answer{{0, limited, 0}, {ms, limited, 0}, {2 * ms, limited, 0}, {s, limited, 0}}, 3 * s},
		"ASuccessBeginsAnew":            {[]answer{{0, limited, 0}, {s, limited, 0}, {4 * s, delivered, 0}, {5 * s, limited, 0}}, 6 * s},
		"TheLongerWordHolds":            {[]answer{{0, limited, 9 * s}, {ms, limited, 2 * s}}, 9 * s},
		"ALongerWordComesLater":         {[]answer{{0, limited, 2 * s}, {s, limited, 9 * s}}, 10 * s},
		"AWordDoesNotLengthenTheOthers": {[]answer{{0, limited, 2 * s}, {2 * s, limited, 0}}, 3 * s},
		"InTroubleAndSaysHowLong":       {[]answer{{0, transient, 5 * s}}, 5 * s},
		"InTroubleAndSaysNothing":       {[]answer{{0, transient, 0}}, 0},
		"UnknownWaitsByItself":          {[]answer{{0, unknown, 5 * s}}, 0},
		"ARefusalIsOfItsDelivery":       {[]answer{{0, validation, 5 * s}}, 0},
		"SurelyNotThereIsNoWish":        {[]answer{{0, unspecified, 5 * s}}, 0},
		"DeliveredIsNoWish":             {[]answer{{0, delivered, 5 * s}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			var r restraint
			for _, a := range c.answers {
				r.note(a.kind, a.asked, begin.Add(a.at))
			}
			if c.until == 0 {
				if !r.until.IsZero() {
					t.Errorf("it is left alone for %s", r.until.Sub(begin))
				}
				return
			}
			if got := r.until.Sub(begin); got != c.until || r.holds(r.until) || !r.holds(r.until.Add(-1)) {
				t.Errorf("it is left alone for %s, want %s", got, c.until)
			}
		})
	}
	t.Run("AtMostAMinute", func(t *testing.T) {
		t.Parallel()
		var r restraint
		now := time.Now()
		for range 100 {
			r.note(limited, 0, now)
			if r.until.Sub(now) > mostRestraint {
				t.Fatalf("%s", r.until.Sub(now))
			}
			now = r.until
		}
		r.note(limited, 0, now)
		if got := r.until.Sub(now); got != mostRestraint {
			t.Errorf("%s, want %s", got, mostRestraint)
		}
	})
	t.Run("OthersAreToldWhereItsEndMoved", func(t *testing.T) {
		t.Parallel()
		r := restraint{until: time.Now()}
		if !r.moved() {
			t.Error("they were told nothing")
		}
		for by, want := range map[time.Duration]bool{0: false, s: false, s + 1: true, -s - 1: true} {
			if r.told = r.until.Add(by); r.moved() != want {
				t.Errorf("by %s: %t", by, r.moved())
			}
		}
	})
}
