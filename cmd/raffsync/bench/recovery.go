package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"raffsync/outbox"
)

const (
	// recoveryRate is the limit of the destination, in requests a second.
	recoveryRate = 200
	// sickFor is long enough that its breaker has opened and closed again a few times.
	sickFor = 15 * time.Second
	// wellWithin is how soon the rate is to be there again, and wellWindow what it is
	// measured over.
	wellWithin = time.Minute
	wellWindow = 5 * time.Second
)

// recovery has a destination fail, with work for minutes waiting for it, and measures
// what of its limit it gets in the last seconds of the minute after it is well again.
func (r *rig) recovery(ctx context.Context) (figures []Figure, err error) {
	limited := destination{
		name: "sick", kind: kindSick, concurrency: 64, breaker: outbox.DefaultBreaker,
		rate: outbox.Rate(fmt.Sprintf("%d/s", recoveryRate)),
	}
	err = r.atWork(ctx, []destination{limited}, func(s *shop, e *engine) error {
		l, err := connect(ctx, e.grpc, s.key, streams, nil)
		if err != nil {
			return err
		}
		for range recoveryRate * int((2 * wellWithin).Seconds()) {
			if err := l.send(ctx); err != nil {
				return err
			}
		}
		if err := errors.Join(l.flush(ctx), pause(ctx, sickFor)); err != nil {
			return err
		}
		if _, err := e.ask(engineRequest{Do: "recover"}); err != nil {
			return err
		}
		var share float64
		soonest := time.Duration(0)
		begin := time.Now()
		for time.Since(begin) < wellWithin {
			if _, err := e.ask(engineRequest{Do: "arrivals"}); err != nil {
				return err
			}
			last := time.Now()
			if err := pause(ctx, wellWindow); err != nil {
				return err
			}
			a, err := e.ask(engineRequest{Do: "arrivals"})
			if err != nil {
				return err
			}
			share = float64(a.Arrivals) / time.Since(last).Seconds() / recoveryRate
			r.say("recovery: %.2f of the limit until %.0f s after it is well", share, time.Since(begin).Seconds())
			if soonest == 0 && share >= 0.9 {
				soonest = time.Since(begin)
			}
		}
		figures = []Figure{figure("a minute after a destination is well again, of its limit", ratio, goal{must: 0.9, aim: 0.98}, []float64{share},
			fmt.Sprintf("%d a second; nine tenths after %.0f s", recoveryRate, soonest.Seconds()))}
		return l.close(ctx)
	})
	return figures, err
}
