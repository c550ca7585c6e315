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
	t := newTrap(ingestSession, stallCopy)
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

// settling is how long a successor may take to settle what a frozen process left, once the
// lease is over.
const settling = time.Second

// lateRequest freezes a replica that has requests on their way to a platform, which arrive
// when its lease is long over and a successor has settled them. So long a freeze between the
// look at the lease and the write on the socket is what no process can help; the platform
// is one that recognises keys.
func (n *nemesis) lateRequest(ctx context.Context) {
	if !n.freezing.TryLock() {
		return // somebody has to be awake, to take over
	}
	d := n.courier.stop()
	n.aside(func() {
		defer n.freezing.Unlock()
		n.until(ctx, func() bool { return d.held.Load() >= concurrency/2 })
		r := n.any()
		frozen := r.signal(syscall.SIGSTOP)
		n.courier.pass()
		pause(ctx, lease+freezeBeyond+settling)
		close(d.over)
		n.until(ctx, func() bool { return d.passed.Load() > 0 })
		r.signal(syscall.SIGCONT)
		n.count("late requests", frozen && d.passed.Load() > 0)
	})
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
		pause(ctx, lease+freezeBeyond)
		t := newTrap(engineSession, stallLease)
		t.stays, t.stall = true, lease/2
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

// until waits for a condition that need not come true.
func (n *nemesis) until(ctx context.Context, is func() bool) {
	limit, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	for !is() && limit.Err() == nil {
		pause(limit, time.Millisecond)
	}
}
