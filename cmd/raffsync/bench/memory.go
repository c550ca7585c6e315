package bench

import (
	"context"
	"errors"
	"fmt"
)

// memory measures the engine with a million deliveries that wait for a destination
// which takes none: once it has settled, at its peak, and what the million costs over
// a hundred thousand; and again when another process has taken them over.
func (r *rig) memory(ctx context.Context) ([]Figure, error) {
	var settled []float64
	var figures []Figure
	for _, n := range []int{million / 10, million} {
		now, peak, err := r.waiting(ctx, n, func(took footprint) {
			if n == million {
				figures = append(figures,
					figure("memory with a million waiting, after a takeover, settled", "MiB", goal{must: 256, aim: 128, lower: true}, []float64{took.resident}, took.String()),
					figure("the same, peak", "MiB", goal{must: 512, aim: 256, lower: true}, []float64{took.peak}, ""))
			}
		})
		if err != nil {
			return nil, err
		}
		settled = append(settled, now.resident)
		if n == million {
			figures = append([]Figure{
				figure("memory with a million waiting, settled", "MiB", goal{must: 256, aim: 128, lower: true}, []float64{now.resident}, now.String()),
				figure("the same, peak while they came in", "MiB", goal{must: 512, aim: 256, lower: true}, []float64{peak}, ""),
				figure("a million waiting, against a hundred thousand", "MiB", goal{must: 128, aim: 32, lower: true}, []float64{settled[1] - settled[0]}, ""),
			}, figures...)
		}
	}
	return figures, nil
}

// waiting fills a shop with n deliveries that wait, and tells the engine's memory; then
// kills it, and tells that of its successor.
func (r *rig) waiting(ctx context.Context, n int, tookOver func(footprint)) (settled footprint, peak float64, err error) {
	s, err := r.openShop(ctx, template, destination{name: "away", kind: kindHang, concurrency: 1})
	if err != nil {
		return settled, 0, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	e, err := r.startEngine(ctx, s)
	if err != nil {
		return settled, 0, err
	}
	err = r.fill(ctx, s, e, n)
	if err == nil {
		peak = float64(procKiB(e.status(), "VmHWM")) / 1024
		settled, err = e.footprint()
	}
	e.kill()
	if err != nil {
		return settled, peak, err
	}
	r.say("memory: %s waiting: %s, peak %s MiB", count(float64(n)), settled, number(peak))
	// The dead one's lease is ended, so that there is nothing to wait for.
	if _, err := s.db.Exec(ctx, `UPDATE replicas SET lease_until = LEAST(lease_until, clock_timestamp())`); err != nil {
		return settled, peak, err
	}
	if e, err = r.startEngine(ctx, s); err != nil {
		return settled, peak, err
	}
	defer e.kill()
	if err := s.untilTaken(ctx); err != nil {
		return settled, peak, err
	}
	took, err := e.footprint()
	if err == nil {
		r.say("memory: after a takeover: %s", took)
		tookOver(took)
	}
	return settled, peak, err
}

// untilTaken waits until a living replica holds every lane and has sent something.
func (s *shop) untilTaken(ctx context.Context) error {
	for {
		var taken bool
		err := s.db.QueryRow(ctx, `
SELECT NOT EXISTS (SELECT FROM lanes l LEFT JOIN replicas r ON r.id = l.replica WHERE r.lease_until IS NULL OR r.lease_until < now())
   AND EXISTS (SELECT FROM intents i JOIN replicas r ON r.id = i.replica WHERE r.lease_until > now())`).Scan(&taken)
		if err != nil || taken {
			return err
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// footprint is a process's memory, in MiB.
type footprint struct{ live, resident, peak float64 }

func (f footprint) String() string {
	return fmt.Sprintf("%s MiB resident, %s MiB live in Go", number(f.resident), number(f.live))
}

func (c *child) status() string { return fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid) }

// footprint collects garbage and gives back what is free, so that what is measured is
// what is needed.
func (e *engine) footprint() (footprint, error) {
	a, err := e.ask(engineRequest{Do: "memory"})
	if err != nil {
		return footprint{}, err
	}
	f := footprint{
		live:     float64(a.LiveBytes) / (1 << 20),
		resident: float64(procKiB(e.status(), "VmRSS")) / 1024,
		peak:     float64(procKiB(e.status(), "VmHWM")) / 1024,
	}
	if f.resident == 0 {
		return f, errors.New("this system does not tell a process's memory (/proc is missing)")
	}
	return f, nil
}
