package torture

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	lastWords   = 3  // rounds
	lastWordsOf = 25 // events, of each client
	drainEvery  = 100 * time.Millisecond
	// What an exception holds is open where an operator sees to it.
	stillOpenSQL = `
SELECT count(*) FROM deliveries o JOIN destinations d ON d.id = o.destination WHERE o.state <> 2 OR d.name <> $1`
)

// torment sends, has everything go wrong for as long as it was asked to, and then waits
// until what is open has come to its end.
func (r *rig) torment(ctx context.Context) (*Report, error) {
	sending, stopSending := context.WithTimeout(ctx, r.duration)
	defer stopSending()
	limit, cancel := context.WithTimeout(ctx, r.duration+flushLimit)
	defer cancel()
	var group errgroup.Group
	last := make([]chan int, streams)
	for i := range streams {
		last[i] = make(chan int)
		group.Go(func() error { return r.clients.stream(sending, limit, fmt.Sprintf("till-%d", i+1), last[i]) })
	}
	odd, stopOdd := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { r.clients.pester(sending) })
	others.Go(func() { r.operator.keep(odd, r.operator.retryEach, r.books.name) })
	others.Go(func() { r.operator.keep(odd, r.operator.retryAll, r.crm.name) })
	others.Go(func() { r.operator.keep(odd, r.operator.retryEach, r.orders.name) })
	others.Go(func() { r.buyer.keep(odd) })
	others.Go(func() { r.watch.keep(odd) })
	r.nemesis.run(sending)
	for _, one := range r.replicas {
		one.proxy.disarm()
	}
	for _, p := range r.platforms() {
		p.calm.Store(true)
	}
	r.say("torture: the faults are over")
	settling, stopSettling := context.WithTimeout(ctx, startLimit)
	defer stopSettling()
	for _, one := range r.replicas {
		if err := one.ready(settling); err != nil {
			r.nemesis.trouble(err)
		}
	}
	r.lastWords(limit, last)
	err := group.Wait()
	report := &Report{Seed: r.seed, Folder: r.folder}
	if err != nil && ctx.Err() == nil {
		// Not the rig's trouble: what clients send has to be acknowledged in the end.
		report.add(progress, "", "", "%s", err)
		err = nil
	}
	if err == nil {
		err = r.drain(ctx)
	}
	stopOdd()
	others.Wait()
	if err := errors.Join(err, r.ledger.close()); err != nil {
		return nil, err
	}
	return report, nil
}

// lastWords has every client send a few more events of keys that nothing comes after,
// each time just after the sessions that hear hints were ended: whoever relies on hints
// will never hear of them.
func (r *rig) lastWords(ctx context.Context, last []chan int) {
	for range lastWords {
		r.nemesis.terminate(ctx, hintSessions, 1)
		for _, c := range last {
			select {
			case c <- lastWordsOf:
			case <-ctx.Done():
			}
		}
	}
	for _, c := range last {
		close(c)
	}
}

// drain waits until nothing is open that can go on by itself. What is still open when
// nothing has come to its end for a while is left to the checker.
func (r *rig) drain(ctx context.Context) error {
	conn, err := r.postgres.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	limit := stallLimit
	if r.flaw != "" {
		limit = stallLimitFlaw
	}
	least, changed := -1, time.Now()
	for {
		var open int
		if err := conn.QueryRow(ctx, stillOpenSQL, r.stock.name).Scan(&open); err != nil {
			return err
		}
		if open == 0 {
			return nil
		}
		if least < 0 || open < least {
			least, changed = open, time.Now()
		}
		if time.Since(changed) > limit {
			r.say("torture: nothing moves any more: %d deliveries are open", open)
			return nil
		}
		if pause(ctx, drainEvery); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
