package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"raffsync/outbox"
)

const (
	healthy      = 9
	hangingRate  = 300 // events a second, where latency is measured
	hangingFor   = 15 * time.Second
	hangingSlots = 64
)

// hanging compares nine destinations beside one that never answers with the same nine
// alone: what they get done, and how long events take to them.
func (r *rig) hanging(ctx context.Context) ([]Figure, error) {
	var nine []destination
	for i := range healthy {
		nine = append(nine, destination{name: fmt.Sprintf("noop-%d", i+1), kind: kindNoop, concurrency: hangingSlots})
	}
	ten := append(nine[:healthy:healthy], destination{
		name: "hang", kind: kindHang, concurrency: hangingSlots, timeout: 10 * time.Second, breaker: outbox.DefaultBreaker,
	})
	var beside, alone []time.Duration // p99s
	with := func(ctx context.Context) (float64, error) { return r.nineOf(ctx, ten, &beside) }
	without := func(ctx context.Context) (float64, error) { return r.nineOf(ctx, nine, &alone) }
	throughput, err := r.compare(ctx, "nine destinations beside one that hangs, throughput", goal{must: 0.90, aim: 0.98}, with, without, "without it")
	if err != nil {
		return nil, err
	}
	var ratios []float64
	for i := range beside {
		ratios = append(ratios, alone[i].Seconds()/beside[i].Seconds())
	}
	return []Figure{throughput, figure("the same, p99 without it against with it", ratio, goal{must: 0.90, aim: 0.98}, ratios,
		fmt.Sprintf("last round: %s; without it %s", ms(beside[len(beside)-1]), ms(alone[len(alone)-1])))}, nil
}

// nineOf returns how many events a second get to nine destinations, and adds their p99
// at a steady load.
func (r *rig) nineOf(ctx context.Context, destinations []destination, p99s *[]time.Duration) (rate float64, err error) {
	err = r.atWork(ctx, destinations, func(s *shop, e *engine) error {
		l, err := connect(ctx, e.grpc, s.key, streams, nil)
		if err != nil {
			return err
		}
		l.fan = healthy
		if rate, err = l.deliver(ctx, s, r.scale(20_000, 5_000)); err != nil {
			return err
		}
		if _, err := e.ask(engineRequest{Do: "arrivals"}); err != nil {
			return err
		}
		pacing, stop := context.WithTimeout(ctx, hangingFor)
		defer stop()
		if err := errors.Join(l.pace(pacing, hangingRate), l.flush(ctx)); err != nil {
			return err
		}
		if err := s.untilDelivered(ctx, l.sent*healthy); err != nil {
			return err
		}
		a, err := e.ask(engineRequest{Do: "arrivals"})
		*p99s = append(*p99s, a.P99)
		return errors.Join(err, l.close(ctx))
	})
	return rate, err
}
