package bench

import (
	"context"
	"errors"
	"time"
)

// slots of the no-op destination: as many as River has workers.
const slots = 500

// endToEnd compares events streamed in and delivered to a no-op with jobs inserted and
// worked by River, with as many workers as there are slots and the same bound on what is
// ahead: by River as it comes, whose pause between two fetches bounds it, and, where there is
// time, by River without that pause, which is what the machine bounds.
func (r *rig) endToEnd(ctx context.Context) ([]Figure, error) {
	n := r.scale(300_000, 30_000)
	mine := func(ctx context.Context) (rate float64, err error) {
		err = r.atWork(ctx, noopOnly, func(s *shop, e *engine) error {
			l, err := connect(ctx, e.grpc, s.key, streams, nil)
			if err != nil {
				return err
			}
			if err := s.untilDelivered(ctx, l.sent); err != nil {
				return err
			}
			return errors.Join(r.measured(e, "end-to-end", n, func() (err error) {
				rate, err = l.deliver(ctx, s, n)
				return err
			}), l.close(ctx))
		})
		return rate, err
	}
	river := func(jobs int, eager bool) side {
		return func(ctx context.Context) (float64, error) { return r.riverRate(ctx, jobs, eager) }
	}
	f, err := r.compare(ctx, "end to end, against River", goal{must: 5, aim: 8}, mine, river(r.scale(40_000, 10_000), false), "River")
	if err != nil || r.quick || r.alone {
		return []Figure{f}, err
	}
	eager, err := r.compare(ctx, "end to end, against River that fetches without a pause", goal{}, mine, river(60_000, true), "River")
	return []Figure{f, eager}, err
}

// deliver sends n events, waits until they are delivered, and returns the rate.
func (l *load) deliver(ctx context.Context, s *shop, n int) (rate float64, err error) {
	begin := time.Now()
	if err := l.sendWithin(ctx, s, n); err != nil {
		return 0, err
	}
	if err := s.untilDelivered(ctx, l.sent*l.fan); err != nil {
		return 0, err
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}
