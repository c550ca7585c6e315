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
		passes: map[string]bool{r.stock.name: true}, mapped: r.orders.name, replicas: len(r.replicas),
	}
	if err := e.gather(ctx, conn); err != nil {
		return err
	}
	if e.changed, err = r.watch.changes(ctx, conn); err != nil {
		return err
	}
	e.check(report)
	if r.noDisk != nil {
		report.Skipped = append(report.Skipped, "full disk: "+r.noDisk.Error())
	} else if !r.fullDisk {
		report.Skipped = append(report.Skipped, "full disk: not asked for (--full-disk)")
	}
	for _, one := range r.replicas {
		wrong, err := one.clockIsWrong()
		if err != nil {
			return err
		}
		r.nemesis.count("clocks an hour off", wrong)
	}
	if r.nemesis.counts["clocks an hour off"] == 0 {
		report.Skipped = append(report.Skipped, "clocks an hour off: those of this program can't be (make torture)")
	}
	report.Nemesis, report.Lasted = r.nemesis.counts, time.Since(begin)
	report.Released, report.Jobs, report.Edited = int(r.operator.released.Load()), int(r.operator.jobs.Load()), int(r.operator.edited.Load())
	report.Mapped, report.Odd = int(r.buyer.mapped.Load()), r.clients.odd.counts()
	report.Lies = make(map[string]int)
	for _, p := range r.platforms() {
		p.addLies(report.Lies)
	}
	return nil
}

// addLies adds the lies that the platform has told.
func (p *platform) addLies(counts map[string]int) {
	for name, n := range p.told {
		if name != truth.name {
			counts[name+" (asked)"] += n
		}
	}
	for _, q := range p.requests {
		if q.Lie != truth.name {
			counts[q.Lie]++
		}
	}
}

func (o *oddities) counts() map[string]int {
	return map[string]int{
		"resent": int(o.resent.Load()), "ids reused": int(o.reused.Load()), "never read": int(o.unread.Load()), "bursts": int(o.bursts.Load()),
	}
}
