package torture

import (
	"context"
	"syscall"
	"time"
)

// Misfortunes that take several to come about.

// stallCopy has a client send more at once than goes into a statement, and stalls the first
// COPY by which its replica takes that, for longer than a lease.
func (n *nemesis) stallCopy(ctx context.Context) {
	t := n.newTrap(ingestSession, stallCopy)
	for _, r := range n.replicas {
		r.proxy.arm(t) // whichever it is
	}
	limit, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	select {
	case n.bursts <- burstOf:
	case <-limit.Done(): // they hold back, or wait for acknowledgements
	}
	select {
	case <-t.sprung:
	case <-limit.Done():
	}
	for _, r := range n.replicas {
		r.proxy.disarm()
	}
	select {
	case <-t.sprung:
		n.count("half a COPY", true)
	default:
	}
}

// settledSQL tells whether a successor has settled anything for the platform since then that
// was on the way.
const settledSQL = `
SELECT EXISTS (SELECT FROM timeline t JOIN destinations d ON d.id = t.destination WHERE d.name = $1 AND t.at > $2 AND t.detail->>'rule' = 'owner died')`

// lateRequest freezes all replicas but one while requests are on their way to a platform,
// which arrive when the leases are long over and the one that is left has settled them. So
// long a freeze between the look at the lease and the write on the socket is what no process
// can help; the platform is one that recognises keys.
func (n *nemesis) lateRequest(ctx context.Context) {
	if !n.freezing.TryLock() {
		return // somebody has to be awake, to take over
	}
	d := n.courier.stop()
	n.aside(func() {
		defer n.freezing.Unlock()
		n.until(ctx, func() bool { return d.held.Load() >= concurrency/2 })
		since, awake := time.Now(), n.any()
		for _, r := range n.replicas {
			if r != awake {
				n.count("SIGSTOP", r.signal(syscall.SIGSTOP))
			}
		}
		n.courier.pass()
		pause(ctx, n.lease)
		n.awaitSettled(ctx, since)
		close(d.over)
		n.until(ctx, func() bool { return d.passed.Load() > 0 })
		for _, r := range n.replicas {
			r.signal(syscall.SIGCONT)
		}
		n.count("late requests", d.passed.Load() > 0)
	})
}

// awaitSettled waits until a successor has settled what a frozen process left, for some
// seconds.
func (n *nemesis) awaitSettled(ctx context.Context, since time.Time) {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if conn, err := n.postgres.connect(ctx); err == nil {
			settled := false
			err := conn.QueryRow(ctx, settledSQL, n.books.name, since).Scan(&settled)
			_ = conn.Close(context.WithoutCancel(ctx))
			if err == nil && settled {
				return
			}
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// lateNews freezes a replica past its lease, and lets it do anything then but hear of that
// for a while: what it stores meanwhile the epoch alone refuses.
func (n *nemesis) lateNews(ctx context.Context) {
	if !n.freezing.TryLock() {
		return // somebody has to be awake, to take over
	}
	n.aside(func() {
		defer n.freezing.Unlock()
		r := n.any()
		// What it waits for when it is frozen fails when it wakes up, and then it looks at its
		// lease.
		n.until(ctx, func() bool { return r.proxy.rests(engineSession) })
		frozen := r.signal(syscall.SIGSTOP)
		pause(ctx, n.lease+freezeBeyond)
		t := n.newTrap(engineSession, stallLease)
		t.stays, t.stall = true, n.lease/2
		r.proxy.arm(t)
		r.signal(syscall.SIGCONT)
		n.await(ctx, t.sprung)
		pause(ctx, t.stall)
		r.proxy.take(t)
		select {
		case <-t.sprung:
			n.count("SIGSTOP", frozen)
			n.count("news of the lease late", frozen)
		default:
		}
	})
}

// slowHolds has every delivery that is to wait for a mapping take its time about it: the
// mapping may come meanwhile.
func (n *nemesis) slowHolds(ctx context.Context) {
	n.aside(func() {
		t := n.newTrap(engineSession, stallHold)
		t.stays, t.stall = true, 150*time.Millisecond
		for _, r := range n.replicas {
			r.proxy.arm(t)
		}
		n.await(ctx, t.sprung)
		pause(ctx, 4*t.stall)
		for _, r := range n.replicas {
			r.proxy.take(t)
		}
		select {
		case <-t.sprung:
			n.count("holds that take long", true)
		default:
		}
	})
}

// until waits for a condition that need not come true.
func (n *nemesis) until(ctx context.Context, is func() bool) {
	limit, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	for !is() && limit.Err() == nil {
		pause(limit, time.Millisecond)
	}
}
