package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// nemesis does to the others what goes wrong in the world.
type nemesis struct {
	random   *rand.Rand
	replicas []*replica
	postgres *postgres
	books    *platform
	all      []*platform
	ledger   *ledger
	bursts   chan<- int
	courier  *courier
	lease    time.Duration
	faults   []string // none: all
	say      func(format string, arguments ...any)

	freezing sync.Mutex // held while one is frozen, and news of that are to come late

	mu     sync.Mutex
	counts map[string]int
	wrong  []error // the rig's own trouble
	going  sync.WaitGroup
}

// action is one thing that goes wrong. copies is how often it is in the deck.
type action struct {
	name   string
	copies int
	do     func(*nemesis, context.Context)
}

const (
	pauseMost     = 350 * time.Millisecond // between two actions
	stormLength   = 6 * time.Second
	freezeBeyond  = 700 * time.Millisecond // past the lease
	terminateSQL  = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE $1 AND datname = current_database() AND random() < $2`
	everySession  = "raffsync%"
	ingestSession = "raffsync ingest"
	engineSession = "raffsync replica"
	hintSession   = "raffsync hints"
)

var deck = []action{
	{"SIGKILL", 7, func(n *nemesis, _ context.Context) { n.count("SIGKILL", n.any().signal(syscall.SIGKILL)) }},
	{"SIGKILL at an acknowledgement", 3, (*nemesis).killAtAck},
	{"SIGTERM", 1, func(n *nemesis, _ context.Context) { n.count("SIGTERM", n.any().signal(syscall.SIGTERM)) }},
	{"SIGSTOP past the lease", 2, func(n *nemesis, ctx context.Context) {
		r := n.any()
		n.aside(func() { n.count("SIGSTOP", r.freeze(ctx, n.lease+freezeBeyond)) })
	}},
	{"late request of a frozen process", 1, (*nemesis).lateRequest},
	{"holds that take long", 1, (*nemesis).slowHolds},
	{"late news of a lost lease", 1, (*nemesis).lateNews},
	{"SIGKILL of Postgres", 1, func(n *nemesis, ctx context.Context) {
		if err := n.postgres.crash(ctx); err != nil {
			n.trouble(err)
		}
		n.count("Postgres killed", true)
	}},
	{"connections cut", 3, func(n *nemesis, _ context.Context) { n.count("cut", n.any().proxy.cutSome(n.random, 0.4) > 0) }},
	{"COMMIT lost, of ingest", 2, func(n *nemesis, ctx context.Context) { n.trap(ctx, ingestSession, loseRequest) }},
	{"answer to COMMIT lost, of ingest", 2, func(n *nemesis, ctx context.Context) { n.trap(ctx, ingestSession, loseAnswer) }},
	{"COMMIT lost, of dispatch", 2, func(n *nemesis, ctx context.Context) { n.trap(ctx, engineSession, loseRequest) }},
	{"answer to COMMIT lost, of dispatch", 2, func(n *nemesis, ctx context.Context) { n.trap(ctx, engineSession, loseAnswer) }},
	{"half a COPY", 1, (*nemesis).stallCopy},
	{"half a message, of ingest", 1, func(n *nemesis, ctx context.Context) { n.trap(ctx, ingestSession, stallMessage) }},
	{"half a message, of dispatch", 1, func(n *nemesis, ctx context.Context) { n.trap(ctx, engineSession, stallMessage) }},
	{"partition", 1, func(n *nemesis, ctx context.Context) {
		r := n.any()
		n.aside(func() {
			r.proxy.partition(func(d time.Duration) { pause(ctx, d) }, n.lease+freezeBeyond)
			n.count("partition", true)
		})
	}},
	{"sessions ended", 1, func(n *nemesis, ctx context.Context) { n.terminate(ctx, everySession, 0.5) }},
	{"all connections taken", 1, (*nemesis).exhaust},
	{"full disk", 1, (*nemesis).fillDisk},
	{"storm of 503", 1, func(n *nemesis, ctx context.Context) { n.storm(ctx, n.books, http.StatusServiceUnavailable) }},
	{"storm of 429", 1, func(n *nemesis, ctx context.Context) {
		n.storm(ctx, n.all[n.random.IntN(len(n.all))], http.StatusTooManyRequests)
	}},
}

// run deals the deck, again and again, until the context ends, and returns when
// everything that it began is over.
func (n *nemesis) run(ctx context.Context) {
	defer n.going.Wait()
	var hand []action
	for ctx.Err() == nil {
		if len(hand) == 0 {
			for _, a := range deck {
				if len(n.faults) > 0 && !slices.Contains(n.faults, a.name) {
					continue
				}
				for range a.copies {
					hand = append(hand, a)
				}
			}
			n.random.Shuffle(len(hand), func(i, j int) { hand[i], hand[j] = hand[j], hand[i] })
		}
		n.say("nemesis: %s", hand[0].name)
		hand[0].do(n, ctx)
		hand = hand[1:]
		pause(ctx, time.Duration(n.random.Int64N(int64(pauseMost))))
	}
}

func (n *nemesis) any() *replica { return n.replicas[n.random.IntN(len(n.replicas))] }

// aside goes on while other things go wrong.
func (n *nemesis) aside(f func()) { n.going.Go(f) }

func (n *nemesis) count(what string, happened bool) {
	if !happened {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[what]++
}

func (n *nemesis) trouble(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wrong = append(n.wrong, err)
}

// killAtAck kills the replicas in the moment in which an acknowledgement arrives:
// whoever acknowledges before the commit is caught between the two.
func (n *nemesis) killAtAck(ctx context.Context) {
	done := make(chan struct{})
	n.ledger.atNextAck(func() {
		for _, r := range n.replicas {
			n.count("SIGKILL", r.signal(syscall.SIGKILL))
		}
		close(done)
	})
	n.await(ctx, done)
	n.ledger.atNextAck(nil)
}

func (n *nemesis) newTrap(application string, f fault) *trap {
	return &trap{application: application, fault: f, stall: n.lease + freezeBeyond, sprung: make(chan struct{})}
}

// trap fails the next transaction of a kind of session of some replica.
func (n *nemesis) trap(ctx context.Context, application string, f fault) {
	r := n.any()
	t := n.newTrap(application, f)
	r.proxy.arm(t)
	n.await(ctx, t.sprung)
	r.proxy.disarm()
	select {
	case <-t.sprung:
		n.count(map[fault]string{loseRequest: "COMMIT lost", loseAnswer: "answer to COMMIT lost", stallMessage: "half a message"}[f], true)
	default:
	}
}

// await waits for a moment that need not come.
func (n *nemesis) await(ctx context.Context, moment <-chan struct{}) {
	limit, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case <-moment:
	case <-limit.Done():
	}
}

func (n *nemesis) terminate(ctx context.Context, application string, probability float64) {
	conn, err := n.postgres.connect(ctx)
	if err != nil {
		return // it has no connection left
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var ended int
	err = conn.QueryRow(ctx, terminateSQL, application, probability).Scan(&ended)
	n.count("sessions ended", err == nil && ended > 0)
}

// exhaust takes every connection that Postgres has to give, for a while.
func (n *nemesis) exhaust(ctx context.Context) {
	var mu sync.Mutex
	var taken []*pgx.Conn
	var takers sync.WaitGroup
	for range 10 {
		takers.Go(func() {
			for {
				conn, err := n.postgres.connect(ctx)
				if err != nil {
					return // there is none left
				}
				mu.Lock()
				taken = append(taken, conn)
				mu.Unlock()
			}
		})
	}
	takers.Wait()
	n.count("connections exhausted", len(taken) > 0)
	// Whoever is cut off now finds no way back.
	n.any().proxy.cutSome(n.random, 0.5)
	pause(ctx, 700*time.Millisecond)
	for _, conn := range taken {
		_ = conn.Close(context.WithoutCancel(ctx))
	}
}

func (n *nemesis) storm(ctx context.Context, p *platform, status int) {
	n.aside(func() {
		end := p.rage(status)
		pause(ctx, stormLength)
		end()
		n.count(fmt.Sprintf("storm of %d", status), true)
	})
}

// fillDisk leaves Postgres no room for a while. It may well end by itself over that, and
// is started again once there is room.
func (n *nemesis) fillDisk(ctx context.Context) {
	disk := n.postgres.disk
	if disk == nil {
		return // the report says so
	}
	if err := disk.fill(); err != nil {
		n.trouble(err)
	}
	pause(ctx, 1200*time.Millisecond)
	if err := disk.free(); err != nil {
		n.trouble(err)
	}
	n.count("full disk", true)
	if !n.postgres.answers(context.WithoutCancel(ctx)) {
		if err := n.postgres.crash(ctx); err != nil {
			n.trouble(err)
		}
	}
}
