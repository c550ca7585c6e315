package bench

import (
	"context"
	"errors"
	"time"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// reprocess has one job prepare a hundred thousand deliveries again, which one exception
// holds: how long the click takes, and how fast the engine carries it out, which delivers
// them meanwhile.
func (r *rig) reprocess(ctx context.Context) (figures []Figure, err error) {
	n := r.scale(100_000, 5_000)
	s, err := r.openShop(ctx, template, noopOnly...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if err := s.seedHeld(ctx, n, raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, noopOnly[0].name); err != nil {
		return nil, err
	}
	store, err := outbox.Open(ctx, outbox.Config{DSN: s.dsn})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	e, err := r.startEngine(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.stop()) }()
	begin := time.Now()
	job, err := store.StartJob(ctx, actor, outbox.JobRequest{
		RequestID: "the bench", Action: outbox.JobReprocess, Filter: outbox.JobFilter{Destination: noopOnly[0].name}, Rate: outbox.MaxJobRate, Reason: "the bench",
	})
	if err != nil {
		return nil, err
	}
	click := time.Since(begin)
	r.say("reprocess: %s are entered in %s s", count(float64(job.Total)), number(click.Seconds()))
	begin = time.Now()
	if err := s.until(ctx, `SELECT state = 'DONE' AND done = total FROM jobs WHERE id = $1`, job.ID); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	if err := s.untilDelivered(ctx, n); err != nil {
		return nil, err
	}
	all := time.Since(begin)
	return []Figure{
		figure("the click that reprocesses "+count(float64(n)), "s", goal{lower: true}, []float64{click.Seconds()}, ""),
		figure("reprocessed", "deliveries/s", goal{}, []float64{float64(n) / took.Seconds()}, "and delivered to a no-op within "+number(all.Seconds())+" s"),
	}, nil
}
