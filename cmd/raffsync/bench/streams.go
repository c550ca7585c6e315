package bench

import (
	"context"
	"errors"
)

const idleStreams = 1000

// streams measures the engine's memory with a thousand streams open that have nothing
// to say, each on a connection of its own.
func (r *rig) streams(ctx context.Context) (figures []Figure, err error) {
	err = r.atWork(ctx, noopOnly, func(s *shop, e *engine) error {
		before, err := e.footprint()
		if err != nil {
			return err
		}
		l, err := connect(ctx, e.grpc, s.key, idleStreams, nil)
		if err != nil {
			return err
		}
		if err := s.untilDelivered(ctx, idleStreams); err != nil {
			return err
		}
		after, err := e.footprint()
		if err != nil {
			return err
		}
		r.say("streams: %s; before %s", after, before)
		figures = []Figure{figure("1,000 idle streams", "MiB", goal{must: 150, aim: 80, lower: true}, []float64{after.resident}, "without them "+before.String())}
		return errors.Join(l.close(ctx))
	})
	return figures, err
}
