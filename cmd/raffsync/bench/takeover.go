package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"raffsync/outbox"
)

// takeover kills one of two engines, and measures how long its lanes wait for the next
// delivery.
func (r *rig) takeover(ctx context.Context) (figures []Figure, err error) {
	lease := outbox.DefaultLease
	err = r.atWork(ctx, noopOnly, func(s *shop, survivor *engine) error {
		other, err := r.startEngine(ctx, s)
		if err != nil {
			return err
		}
		defer other.kill()
		lanes, err := s.untilShared(ctx)
		if err != nil {
			return err
		}
		l, err := connect(ctx, survivor.grpc, s.key, 1, nil)
		if err != nil {
			return err
		}
		if err := s.untilDelivered(ctx, l.sent); err != nil {
			return err
		}
		other.kill()
		begin := time.Now()
		key := keyIn(lanes)
		if err := errors.Join(l.sendAs(ctx, key), l.flush(ctx)); err != nil {
			return err
		}
		if err := s.untilDelivered(ctx, l.sent); err != nil {
			return err
		}
		took := time.Since(begin)
		r.say("takeover: %.1f s after the kill", took.Seconds())
		figures = []Figure{figure("takeover after SIGKILL, until the next delivery", "s", goal{must: (lease + 2*time.Second).Seconds(), lower: true},
			[]float64{took.Seconds()}, fmt.Sprintf("the lease is %s", lease))}
		return l.close(ctx)
	})
	return figures, err
}

// untilShared waits until two replicas hold half of the lanes each, and returns those
// of the one that came later.
func (s *shop) untilShared(ctx context.Context) (lanes map[int16]bool, err error) {
	for {
		rows, err := s.db.Query(ctx, `SELECT lane, replica FROM lanes WHERE replica IS NOT NULL`)
		if err != nil {
			return nil, err
		}
		held := make(map[int64]map[int16]bool)
		latest := int64(0)
		for rows.Next() {
			var lane int16
			var replica int64
			if err := rows.Scan(&lane, &replica); err != nil {
				return nil, err
			}
			if held[replica] == nil {
				held[replica] = make(map[int16]bool)
			}
			held[replica][lane] = true
			latest = max(latest, replica)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
		if len(held) == 2 && len(held[latest]) == allLanes/2 {
			return held[latest], nil
		}
		if err := pause(ctx, lookEvery); err != nil {
			return nil, err
		}
	}
}

// allLanes of a new installation.
const allLanes = 64

// keyIn finds an ordering key of one of the lanes.
func keyIn(lanes map[int16]bool) string {
	for n := 0; ; n++ {
		key := fmt.Sprintf("order/%d", n)
		if lanes[outbox.LaneOf(outbox.KeyHash(tenant, key), allLanes)] {
			return key
		}
	}
}
