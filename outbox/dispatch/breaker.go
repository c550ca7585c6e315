package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"raffsync/outbox"
)

// breaker stops requests to a destination in trouble, and lets a few probes through
// when it may have recovered.
//
//	CLOSED ──ratio of failures in the window──▶ OPEN ──OpenFor──▶ HALF_OPEN
//	   ▲                                          ▲                  │
//	   └────────── Probes successes ──────────────┼──────────────────┤
//	                                              └──── a failure ───┘
//
// After a probe that failed it stays open until the shared one has turned, however long
// that takes: who tries next, and when, is for all replicas to know.
//
// Only what says something about the destination's health counts: cancelled
// contexts, refusals and rate limits do not.
type breaker struct {
	config outbox.BreakerConfig
	opened bool // open from the first, for a reason that is not its own
	two    *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu     sync.Mutex
	reason string    // of the last failure
	told   bool      // the reason is that of others
	tryAt  time.Time // OPEN: when it may be tried
	spent  bool      // a probe has failed since the shared one turned
}

// errDestination marks a request that counts as a failure of the destination.
var errDestination = errors.New("the destination failed")

// buckets of the rolling window.
const buckets = 10

func newBreaker(name string, c outbox.BreakerConfig) *breaker {
	return makeBreaker(name, &breaker{config: c}, c.OpenFor)
}

// newOpenBreaker makes one that is open for so long, as others have found out why.
func newOpenBreaker(name string, c outbox.BreakerConfig, openFor time.Duration, reason string) *breaker {
	b := makeBreaker(name, &breaker{config: c, opened: true, reason: reason, told: true}, max(openFor, time.Millisecond))
	if settle, ok := b.allow(); ok {
		settle(errDestination)
	}
	return b
}

// makeBreaker makes one that is open for so long when it opens first.
func makeBreaker(name string, b *breaker, openFor time.Duration) *breaker {
	c := b.config
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         name,
		MaxRequests:  uint32(c.Probes),
		Interval:     c.Window,
		BucketPeriod: c.Window / buckets,
		Timeout:      openFor,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			if b.opened { // the first call, by which it is made
				b.opened = false
				return true
			}
			seen := n.TotalSuccesses + n.TotalFailures
			return int(seen) >= c.MinRequests && float64(n.TotalFailures) >= c.FailureRatio*float64(seen)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		// Called under the breaker's mutex: it stores, and nothing else.
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.mu.Lock()
				b.tryAt, b.spent = time.Now().Add(openFor), from == gobreaker.StateHalfOpen
				if b.spent {
					b.tryAt = time.Now().Add(b.config.OpenFor)
				}
				b.mu.Unlock()
			}
		},
	})
	return b
}

// allow asks for one request. settle must be called exactly once with what came of
// it: nil, [errDestination], or context.Canceled for what says nothing.
func (b *breaker) allow() (settle func(error), ok bool) {
	b.mu.Lock()
	spent := b.spent
	b.mu.Unlock()
	if spent {
		return nil, false
	}
	done, err := b.two.Allow()
	return done, err == nil
}

// turned says that the shared one has turned.
func (b *breaker) turned() {
	b.mu.Lock()
	b.spent = false
	b.mu.Unlock()
}

// failed notes why, for people.
func (b *breaker) failed(reason string) {
	b.mu.Lock()
	b.reason, b.told = reason, false
	b.mu.Unlock()
}

// state is how the breaker stands now, for others to see.
func (b *breaker) state() (state, reason string, probeIn time.Duration) {
	s := b.two.State()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.spent || s == gobreaker.StateOpen:
		return "OPEN", b.because(), max(time.Until(b.tryAt), time.Millisecond)
	case s == gobreaker.StateHalfOpen:
		return "HALF_OPEN", b.because(), 0
	default:
		return "CLOSED", "requests go through", 0
	}
}

func (b *breaker) because() string {
	if b.reason == "" {
		return "too many requests failed"
	}
	if b.told {
		return b.reason
	}
	return fmt.Sprintf("at least %.0f %% of the requests of %s failed, the last by: %s", b.config.FailureRatio*100, b.config.Window, b.reason)
}
