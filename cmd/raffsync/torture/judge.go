package torture

import (
	"context"
	"errors"
	"time"
)

// judge gathers the evidence, checks it, and completes the report.
func (r *rig) judge(ctx context.Context, report *Report, begin time.Time) error {
	if len(r.nemesis.wrong) > 0 {
		return errors.Join(r.nemesis.wrong...)
	}
	conn, err := r.postgres.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	e := &evidence{
		sent: r.ledger.all, seconds: r.ledger.second, protests: r.ledger.wrong, platforms: r.platforms(),
		passes: map[string]bool{r.stock.name: true}, replicas: len(r.replicas),
	}
	if err := e.gather(ctx, conn); err != nil {
		return err
	}
	if e.changed, err = r.watch.changes(ctx, conn); err != nil {
		return err
	}
	e.check(report)
	if r.noDisk != nil {
		report.Skipped = "full disk: " + r.noDisk.Error()
	} else if !r.fullDisk {
		report.Skipped = "full disk: not asked for (--full-disk)"
	}
	report.Nemesis, report.Released, report.Lasted = r.nemesis.counts, int(r.operator.released.Load()), time.Since(begin)
	return nil
}
