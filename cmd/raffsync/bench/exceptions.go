package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"raffsync/outbox"
)

const (
	// releaseWithin is how soon what one mapping answers is to be delivered, and for how
	// long events stream in beside that; of a tenth of it, in a quick run.
	releaseWithin = 10 * time.Second
	// missingType is that of events which lack missingSKU; those of others go elsewhere.
	missingType, missingSKU = "order.missing", "LATTE-OAT"
)

// exceptions measures what people have to do with exceptions.
func (r *rig) exceptions(ctx context.Context) (figures []Figure, err error) {
	for _, part := range []func(context.Context) ([]Figure, error){r.releaseBesideIngest, r.queue, r.reprocess} {
		more, err := part(ctx)
		if err != nil {
			return nil, err
		}
		figures = append(figures, more...)
	}
	return figures, nil
}

// releaseBesideIngest has ten thousand deliveries wait for one mapping, and streams events
// in for ten seconds: with the mapping made at their beginning, and without it.
func (r *rig) releaseBesideIngest(ctx context.Context) ([]Figure, error) {
	n := r.scale(10_000, 1_000)
	var took []float64
	beside := func(ctx context.Context) (float64, error) {
		return r.ingestBeside(ctx, ours, n, func(ctx context.Context, s *shop) error {
			within, err := s.releaseAll(ctx, n)
			took = append(took, within.Seconds())
			return err
		})
	}
	alone := func(ctx context.Context) (float64, error) { return r.ingestBeside(ctx, theirs, n, nil) }
	ingest, err := r.compare(ctx, "ingest beside the release of "+count(float64(n)), goal{must: 0.9, aim: 0.98}, beside, alone, "without it")
	if err != nil {
		return nil, err
	}
	return []Figure{
		figure(count(float64(n))+" released by one mapping and delivered, beside ingest", "s", goal{must: releaseWithin.Seconds(), lower: true}, took, ""),
		ingest,
	}, nil
}

// missing are a destination that looks up what everything of one type lacks, and one that
// takes nothing of what else there is.
var missing = []destination{
	{name: "shelf", kind: kindShelf, concurrency: 128, types: []string{missingType}},
	{name: "away", kind: kindHang, concurrency: 1, types: []string{orderType}},
}

// ingestBeside returns the rate of ten seconds of events, beside whatever is to be done
// meanwhile in a shop in which so many deliveries lack a mapping. That belongs to the rate
// only as far as it falls into these seconds; it is waited for.
func (r *rig) ingestBeside(ctx context.Context, side, n int, meanwhile func(context.Context, *shop) error) (rate float64, err error) {
	err = r.atWork(ctx, missing, func(s *shop, e *engine) error {
		if err := s.lack(ctx, e, n); err != nil {
			return err
		}
		l, err := connect(ctx, e.grpc, s.key, streams, nil)
		if err != nil {
			return err
		}
		used := r.worked(e.cmd.Process.Pid)
		done := make(chan error, 1)
		go func() {
			if meanwhile == nil {
				done <- nil
				return
			}
			done <- meanwhile(ctx, s)
		}()
		window := releaseWithin
		if r.quick {
			window /= 10
		}
		begin, before := time.Now(), l.sent
		for time.Since(begin) < window {
			if err := l.send(ctx); err != nil {
				return err
			}
		}
		if err := l.flush(ctx); err != nil {
			return err
		}
		sent := l.sent - before
		rate = float64(sent) / time.Since(begin).Seconds()
		err = <-done
		r.note(side, used, r.worked(e.cmd.Process.Pid), sent)
		return errors.Join(err, l.close(ctx))
	})
	return rate, err
}

// lack streams events that lack a mapping, and waits until one exception holds all of them.
func (s *shop) lack(ctx context.Context, e *engine, n int) error {
	l, err := connect(ctx, e.grpc, s.key, streams, nil)
	if err != nil {
		return err
	}
	for i := range n {
		if err := l.sendOf(ctx, missingType, fmt.Sprintf("missing/%d", i)); err != nil {
			return err
		}
	}
	if err := errors.Join(l.flush(ctx), l.close(ctx)); err != nil {
		return err
	}
	return s.until(ctx, `SELECT coalesce(sum(held), 0) = $1 FROM exceptions WHERE closed_at IS NULL`, n)
}

// releaseAll makes the mapping, as an operator does, and tells how long it took until n
// deliveries more are delivered.
func (s *shop) releaseAll(ctx context.Context, n int) (time.Duration, error) {
	before, err := s.delivered(ctx)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if _, err := s.mapMissing(ctx); err != nil {
		return 0, err
	}
	err = s.untilDelivered(ctx, before+n)
	return time.Since(begin), err
}

// mapMissing makes the mapping that everything lacks, and tells how long that took.
func (s *shop) mapMissing(ctx context.Context) (took time.Duration, err error) {
	store, err := outbox.Open(ctx, outbox.Config{DSN: s.dsn})
	if err != nil {
		return 0, err
	}
	defer store.Close()
	begin := time.Now()
	_, err = store.SetMappings(ctx, actor, outbox.SetMappings{
		MappingRequest: outbox.MappingRequest{RequestID: "the bench", Reason: "new item"},
		Table:          outbox.MappingTable{Name: "sku", Destination: "shelf"}, Entries: []outbox.MappingPair{{Value: missingSKU, Target: "ITM-42"}},
	})
	return time.Since(begin), err
}

// until waits until a statement says true, for ten minutes at most.
func (s *shop) until(ctx context.Context, sql string, arguments ...any) error {
	late := time.Now().Add(10 * time.Minute)
	for {
		var yes bool
		if err := s.db.QueryRow(ctx, sql, arguments...).Scan(&yes); err != nil || yes {
			return err
		}
		if time.Now().After(late) {
			return fmt.Errorf("not within ten minutes: %s", sql)
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}
