package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	sustainedFor = time.Minute
	sixths       = 6
)

// sustained keeps events coming for a minute, and compares its last sixth with its
// second: whether what is there already slows down what comes.
func (r *rig) sustained(ctx context.Context) (figures []Figure, err error) {
	err = r.atWork(ctx, noopOnly, func(s *shop, e *engine) error {
		l, err := connect(ctx, e.grpc, s.key, streams, nil)
		if err != nil {
			return err
		}
		sending, stop := context.WithCancel(ctx)
		defer stop()
		sent := make(chan error, 1)
		go func() { sent <- l.sendWithin(sending, s, int(sustainedFor.Seconds())*1_000_000) }()
		rates, err := s.rates(ctx, sixths, sustainedFor/sixths, func(i int, rate float64) {
			r.say("sustained: sixth %d of %d: %s/s", i+1, sixths, count(rate))
		})
		if err != nil {
			return err
		}
		stop()
		if err := <-sent; !errors.Is(err, context.Canceled) {
			return fmt.Errorf("sending ended early: %w", err)
		}
		if err := l.flush(ctx); err != nil {
			return err
		}
		figures = []Figure{figure("sustained for 60 s, last against second sixth", ratio, goal{must: 0.7, aim: 0.9},
			[]float64{rates[sixths-1] / rates[1]}, fmt.Sprintf("%s/s; second %s/s", count(rates[sixths-1]), count(rates[1])))}
		return l.close(ctx)
	})
	return figures, err
}

var noopOnly = []destination{{name: "noop", kind: kindNoop, concurrency: slots}}

// rates measures how many deliveries a second were delivered in each of n stretches.
func (s *shop) rates(ctx context.Context, n int, each time.Duration, told func(int, float64)) ([]float64, error) {
	tick := time.NewTicker(each)
	defer tick.Stop()
	before, err := s.delivered(ctx)
	if err != nil {
		return nil, err
	}
	at := time.Now()
	var rates []float64
	for i := range n {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		now, err := s.delivered(ctx)
		if err != nil {
			return nil, err
		}
		rates = append(rates, float64(now-before)/time.Since(at).Seconds())
		before, at = now, time.Now()
		told(i, rates[i])
	}
	return rates, nil
}
