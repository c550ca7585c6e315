package escalate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"raffsync/outbox"
)

// Config of a [Worker].
type Config struct {
	Store *outbox.Store
	Log   *slog.Logger
	// Acknowledge makes a link; "" for none. Nil: there are no links.
	Acknowledge func(Link) string
	// OnTold learns the lanes that have got deliveries.
	OnTold func(lanes []int16)
}

// Link is that by which whoever reads a notice at an address takes the exception up.
type Link struct {
	Base      string // the installation's public address
	Tenant    string
	Exception int64
	Address   string
	Expires   time.Time     // then it cannot be used any more
	For       time.Duration // how long it acknowledges for
}

// Worker tells teams of exceptions when it is time. Any number of processes may run one:
// what one of them looks at the others pass over, and who is told, and that it was decided,
// are one transaction: each level fires once, whoever dies when.
type Worker struct {
	config   Config
	notifier *outbox.Notifier
	policies map[string]*force // by tenant
}

// force is a tenant's configuration as it is in force.
type force struct {
	outbox.Applied
	policies *Policies
}

const (
	// every is how often it is looked whether anything is due.
	every = time.Second
	// claimed bounds what is looked at in one transaction.
	claimed = 200
	// gather is for how long after a team was told the next is gathered, to be told at
	// once.
	gather = time.Minute
	// urgencyEvery is how often it is looked whether what waits for its hours has become
	// urgent.
	urgencyEvery = time.Minute
)

// New makes a worker. It opens nothing.
func New(c Config) (*Worker, error) {
	if c.Store == nil || c.Log == nil {
		return nil, errors.New("escalate: a worker needs a store and a log")
	}
	return &Worker{config: c, notifier: c.Store.OpenNotifier(rand.Int64())}, nil
}

// Run works until the context ends. What fails is tried again.
func (w *Worker) Run(ctx context.Context) error {
	defer w.notifier.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = w.runOnce(ctx, nil); err != nil && ctx.Err() == nil {
				w.config.Log.WarnContext(ctx, "escalation is tried again", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// runOnce looks at what is due, at a time that nil leaves to the database, and tells
// whether to call again at once.
func (w *Worker) runOnce(ctx context.Context, at *time.Time) (more bool, err error) {
	due, err := w.config.Store.EscalationDue(ctx, at)
	if err != nil || !due {
		return false, err
	}
	if err := w.load(ctx); err != nil {
		return false, err
	}
	lanes, err := w.notifier.Transact(ctx, func(tx outbox.NoticeTx) error {
		rows, now, err := claim(ctx, tx, at, claimed)
		if err != nil || len(rows) == 0 {
			return err
		}
		more = len(rows) == claimed
		return w.look(ctx, tx, rows, now)
	})
	if err != nil {
		return false, fmt.Errorf("escalate: %w", err)
	}
	if len(lanes) > 0 {
		w.config.Log.InfoContext(ctx, "teams are told of exceptions", "notices", len(lanes))
		if w.config.OnTold != nil {
			w.config.OnTold(lanes)
		}
	}
	return more, nil
}

// load reads the configurations in force. One that cannot be compiled here goes on as it
// was; a newer version of this program may have applied it.
func (w *Worker) load(ctx context.Context) error {
	applied, err := w.config.Store.Configurations(ctx)
	if err != nil {
		return err
	}
	before := w.policies
	w.policies = make(map[string]*force, len(applied))
	for _, a := range applied {
		old := before[a.Tenant]
		if old != nil && old.Version == a.Version {
			w.policies[a.Tenant] = old
			continue
		}
		compiled, err := CompilePolicies(&a.Configuration)
		if err != nil {
			w.config.Log.ErrorContext(ctx, "the escalation policies cannot be used", "tenant", a.Tenant, "version", a.Version, "error", err)
			if old != nil {
				compiled = old.policies
			}
		}
		w.policies[a.Tenant] = &force{a, compiled}
	}
	return nil
}

// look decides each row by itself, and then tells each team what there is for it.
func (w *Worker) look(ctx context.Context, tx outbox.NoticeTx, rows []*row, now time.Time) error {
	var told groups
	for _, r := range rows {
		err := tx.Try(ctx, func(tx outbox.NoticeTx) error { return w.decide(ctx, tx, r, now, &told) })
		if err != nil && !isOwn(err) {
			return err
		}
		if err != nil {
			if err := w.postpone(ctx, tx, r, now, err); err != nil {
				return err
			}
		}
	}
	for _, g := range told.inOrder() {
		if err := w.tell(ctx, tx, g, now); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) postpone(ctx context.Context, tx outbox.NoticeTx, r *row, now time.Time, cause error) error {
	w.config.Log.ErrorContext(ctx, "an exception cannot be escalated; it is tried again later", "tenant", r.Tenant, "exception", r.Exception, "class", r.Class, "error", cause)
	_, err := tx.Exec(ctx, postponeSQL, r.Exception, now)
	return err
}

// decide stores what comes next of an exception, but for what is to be told now: that is
// put into the groups.
func (w *Worker) decide(ctx context.Context, tx outbox.NoticeTx, r *row, now time.Time, told *groups) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &ownError{fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	s, err := r.state()
	if err != nil {
		return &ownError{err}
	}
	f := w.policies[r.Tenant]
	if r.policy == nil {
		if f == nil || f.policies == nil {
			return &ownError{errors.New("there are no policies that could be looked at")}
		}
		if err := r.readOutlet(ctx, tx); err != nil {
			return err
		}
		r.policy, _ = f.policies.For(r.facts(now))
	}
	if at := r.AcknowledgedAt; at != nil && (r.SeenAt == nil || !r.SeenAt.Equal(*at)) {
		s, r.SeenAt = s.Acknowledge(r.policy, *at, *r.AcknowledgedUntil), at
	}
	s.Urgent = r.urgent(now)
	if s.Over {
		if len(r.Told) == 0 {
			return r.save(ctx, tx, s, time.Time{})
		}
		for _, team := range r.Told {
			told.add(r, team, s, nil)
		}
		return nil
	}
	step := NextStep(s, r.policy, now)
	if step.Fire {
		told.add(r, r.policy.Levels[step.Level].Team, s, &step)
		return nil
	}
	return r.save(ctx, tx, s, r.lookAgain(s, step.At, now))
}

// urgent tells whether neither clock nor quiet hours count.
func (r *row) urgent(now time.Time) bool {
	if r.policy.IgnoreClockIf == "" {
		return false
	}
	c, err := CompileCondition(r.policy.IgnoreClockIf)
	return err == nil && c.Holds(r.facts(now))
}

// lookAgain is when to, given when something is due by the clock: sooner, where it may
// become urgent before.
func (r *row) lookAgain(s State, at, now time.Time) time.Time {
	rests := now.Before(s.AcknowledgedUntil)
	if r.policy.IgnoreClockIf == "" || s.Urgent || rests || r.policy.Hours == nil && r.policy.Quiet == nil || len(r.policy.Levels) == 0 {
		return at
	}
	if soon := now.Add(urgencyEvery); at.IsZero() || soon.Before(at) {
		return soon
	}
	return at
}
