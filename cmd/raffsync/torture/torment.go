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
	tell(limit, last, 0)
	tell(limit, last, 0) // hears it when all that came before is acknowledged
	settled, err := r.drain(ctx)
	if settled {
		// Nothing but reading everything now and then finds all of what comes without a
		// hint, and after which nothing comes.
		for _, one := range r.replicas {
			one.proxy.bar(hintSession)
		}
		for range lastWords {
			tell(limit, last, lastWordsOf)
		}
	}
	for _, c := range last {
		close(c)
	}
	unacknowledged := group.Wait()
	report := &Report{Seed: r.seed, Folder: r.folder}
	if unacknowledged != nil && ctx.Err() == nil {
		// Not the rig's trouble: what clients send has to be acknowledged in the end.
		report.add(progress, "", "", "%s", unacknowledged)
	} else {
		err = errors.Join(err, unacknowledged)
	}
	if err == nil && settled {
		_, err = r.drain(ctx)
	}
	stopOdd()
	others.Wait()
	if err := errors.Join(err, r.ledger.close()); err != nil {
		return nil, err
	}
	return report, nil
}

// tell asks every client for that many events more, once it is done with what it was asked
// for before.
func tell(ctx context.Context, clients []chan int, events int) {
	for _, c := range clients {
		select {
		case c <- events:
		case <-ctx.Done():
		}
	}
}

// drain waits until nothing is open that can go on by itself. What is still open when
// nothing has come to its end for a while, and it is not settled, is left to the checker.
func (r *rig) drain(ctx context.Context) (settled bool, err error) {
	conn, err := r.postgres.connect(ctx)
	if err != nil {
		return false, err
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
			return false, err
		}
		if open == 0 {
			return true, nil
		}
		if least < 0 || open < least {
			least, changed = open, time.Now()
		}
		if time.Since(changed) > limit {
			r.say("torture: nothing moves any more: %d deliveries are open", open)
			return false, nil
		}
		if pause(ctx, drainEvery); ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
}
