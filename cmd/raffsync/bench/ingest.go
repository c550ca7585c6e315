package bench

import (
	"context"
	"time"
)

// ingest compares events acknowledged over gRPC (their ids, rows, deliveries and
// timeline in Postgres) with COPY of the events alone. The destination hangs, so that
// nothing else runs meanwhile.
func (r *rig) ingest(ctx context.Context) ([]Figure, error) {
	n := r.scale(200_000, 50_000)
	way := copyWays[0]
	if !r.alone {
		best, err := r.bestCopy(ctx, n)
		if err != nil {
			return nil, err
		}
		way = best
	}
	mine := func(ctx context.Context) (rate float64, err error) {
		err = r.atWork(ctx, []destination{{name: "away", kind: kindHang, concurrency: 1}}, func(s *shop, e *engine) error {
			l, err := connect(ctx, e.grpc, s.key, streams, nil)
			if err != nil {
				return err
			}
			var took time.Duration
			err = r.measured(e, "ingest", n, func() error {
				begin := time.Now()
				for range n {
					if err := l.send(ctx); err != nil {
						return err
					}
				}
				err := l.flush(ctx)
				took = time.Since(begin)
				return err
			})
			if err != nil {
				return err
			}
			rate = float64(n) / took.Seconds()
			return l.close(ctx)
		})
		return rate, err
	}
	peer := func(ctx context.Context) (float64, error) { return r.copyRate(ctx, way, n) }
	f, err := r.compare(ctx, "ingest, against COPY", goal{must: 0.45, aim: 0.60}, mine, peer, way.String())
	return []Figure{f}, err
}

// scale is a round's size in a full run and in a quick one.
func (r *rig) scale(full, quick int) int {
	if r.quick {
		return quick
	}
	return full
}
