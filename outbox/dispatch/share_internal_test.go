package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"raffsync/outbox"
)

// A replica whose turn it is to try a platform has so many probes, and no more of them once
// one has failed: not before all others know, however long it takes to tell them, and
// however late it has heard itself that the breaker was open.
func TestTarget_AFailedProbeEndsItsTurn(t *testing.T) {
	const openFor, probes, me, other = 300 * time.Millisecond, 2, 1, 2
	for name, late := range map[string]time.Duration{"HeardInTime": -openFor, "HeardJustBefore": -time.Millisecond, "HeardLate": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				target := &target{ready: make([]*line, 10), Destination: Destination{Name: "books", Breaker: outbox.BreakerConfig{
					Window: time.Minute, MinRequests: 5, FailureRatio: 0.5, OpenFor: openFor, Probes: probes,
				}}.withDefaults()}
				target.renewBreaker("books", target.Breaker)
				hear := func(shared outbox.Throttle) {
					now := time.Now()
					a := target.ask(now)
					target.granted(&a, &outbox.Grant{Throttle: shared, Slots: 4, Fair: 4}, me, clocks{now, now, now})
				}
				admitted := func() (settles []func(error)) {
					for settle, ok := target.allow(); ok; settle, ok = target.allow() {
						settles = append(settles, settle)
					}
					return settles
				}
				asks := func(breaker string, probe bool) {
					t.Helper()
					if a := target.ask(time.Now()); a.Breaker != breaker || a.Probe != probe {
						t.Fatalf("it says %s (to be tried: %t), want %s (%t)", a.Breaker, a.Probe, breaker, probe)
					}
				}
				hear(outbox.Throttle{Breaker: outbox.BreakerOpen, Turn: 1, ProbeAt: time.Now().Add(-late)})
				time.Sleep(openFor + time.Millisecond)
				asks(outbox.BreakerHalfOpen, true)
				hear(outbox.Throttle{Breaker: outbox.BreakerHalfOpen, Turn: 2, Prober: me, ProbeUntil: time.Now().Add(time.Minute)})
				settles := admitted()
				if len(settles) != probes {
					t.Fatalf("%d probes, want %d", len(settles), probes)
				}
				settles[0](errDestination)
				for range 5 {
					if n := len(admitted()); n > 0 {
						t.Fatalf("%d more in the same turn", n)
					}
					asks(outbox.BreakerOpen, false)
					time.Sleep(openFor)
				}
				settles[1](nil) // of a turn that is over

				// It has no part in the turn of another, and is there when that does not end.
				hear(outbox.Throttle{Breaker: outbox.BreakerHalfOpen, Turn: 3, Prober: other, ProbeUntil: time.Now().Add(time.Second)})
				if n := len(admitted()); n > 0 {
					t.Fatalf("%d in the turn of another", n)
				}
				time.Sleep(time.Second + time.Millisecond)
				asks(outbox.BreakerHalfOpen, true)
				hear(outbox.Throttle{Breaker: outbox.BreakerHalfOpen, Turn: 4, Prober: me, ProbeUntil: time.Now().Add(time.Minute)})
				for _, settle := range admitted() {
					settle(nil)
				}
				asks(outbox.BreakerClosed, false)
			})
		})
	}
}
