package torture

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"raffsync/outbox/mutant"
)

// setup is what one run is made of.
type setup struct {
	program  string
	folder   string
	seed     uint64
	duration time.Duration
	replicas int
	noFsync  bool
	fullDisk bool
	flaw     mutant.Flaw
	lease    time.Duration
	faults   []string // none: all
	say      func(format string, arguments ...any)
}

const (
	lease          = 2 * time.Second
	requestTimeout = time.Second
	breakerWindow  = 2 * time.Second
	breakerOpenFor = time.Second
	breakerProbes  = 2
	breakerMinimum = 8
	concurrency    = 8
	liesPercent    = 12
	streams        = 3

	// What a run stores, and some room besides: it is filled on purpose, and only then.
	diskAtFirst, diskPerSecond = 600 << 20, 1 << 20

	startLimit = 2 * time.Minute
	flushLimit = 5 * time.Minute // of what clients have not had acknowledged, and of what they send once all has settled
	// stallLimit is how long nothing may come to its end after the faults did, before
	// what is open counts as forgotten: longer than lease, back-off and breaker together.
	// Of a flaw something is expected to be forgotten, and it need not be waited for as long.
	stallLimit     = 45 * time.Second
	stallLimitFlaw = 15 * time.Second
)

// rig is everything that stands during a run.
type rig struct {
	setup
	postgres *postgres
	replicas []*replica
	books    *platform // recognises keys
	crm      *platform // does not, and can be asked
	stock    *platform // does not, and cannot be asked
	orders   *platform // does not, and can be asked; keeps orders, in two steps
	mirror   *platform // of a route in shadow
	courier  *courier  // the way to books
	ledger   *ledger
	clients  *clients
	operator *operator
	buyer    *buyer
	nemesis  *nemesis
	watch    *watch
	config   string
	noDisk   error // why there is no small disk to fill
}

func (r *rig) platforms() []*platform {
	return []*platform{r.books, r.crm, r.stock, r.orders, r.mirror}
}

// run tortures, and checks. The error is the rig's own.
func run(ctx context.Context, s setup) (report *Report, err error) {
	r := &rig{setup: s}
	defer func() {
		if r.postgres != nil {
			err = errors.Join(err, r.postgres.remove())
		}
	}()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	var processes errgroup.Group
	stopAll := func() error {
		stop()
		err := processes.Wait()
		for _, r := range r.replicas {
			err = errors.Join(err, r.proxy.close(), r.log.Close())
		}
		return err
	}
	if err := r.serve(serving, &processes); err != nil {
		return nil, errors.Join(err, stopAll())
	}
	begin := time.Now()
	report, err = r.torment(ctx)
	if err = errors.Join(err, stopAll(), r.closePlatforms()); err != nil {
		return nil, err
	}
	return report, r.judge(ctx, report, begin)
}

func (r *rig) closePlatforms() (err error) {
	err = r.courier.close()
	for _, p := range r.platforms() {
		err = errors.Join(err, p.close())
	}
	return err
}

// prepare makes Postgres, the platforms, the configuration and the ledger.
func (r *rig) prepare(ctx context.Context) (err error) {
	r.say("torture: seed %d, folder %s", r.seed, r.folder)
	in := func(name string) string { return filepath.Join(r.folder, name) }
	var disk int64
	if r.fullDisk {
		disk = diskAtFirst + int64(r.duration/time.Second)*diskPerSecond
	}
	if r.postgres, r.noDisk, err = startPostgres(ctx, r.noFsync, disk); err != nil {
		return err
	}
	if r.ledger, err = newLedger(in("clients.ledger")); err != nil {
		return err
	}
	if r.books, err = newPlatform("books", true, r.seed, liesPercent, in("books.ledger")); err != nil {
		return err
	}
	if r.courier, err = newCourier(strings.TrimPrefix(r.books.url, "http://")); err != nil {
		return err
	}
	if r.crm, err = newPlatform("crm", false, r.seed+1, liesPercent, in("crm.ledger")); err != nil {
		return err
	}
	if r.stock, err = newPlatform("stock", false, r.seed+2, liesPercent, in("stock.ledger")); err != nil {
		return err
	}
	if r.orders, err = newPlatform("orders", false, r.seed+3, liesPercent, in("orders.ledger")); err != nil {
		return err
	}
	r.orders.effectsOf = orderEffects
	if r.mirror, err = newPlatform("mirror", true, r.seed+4, 0, in("mirror.ledger")); err != nil {
		return err
	}
	r.mirror.shadowed = true
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	if err := os.WriteFile(in("secret"), []byte("whsec_"+base64.StdEncoding.EncodeToString(secret)), 0o600); err != nil {
		return err
	}
	r.config = in("torture.yaml")
	return os.WriteFile(r.config, []byte(r.configuration(in("secret"))), 0o600)
}

// serve starts the replicas, the first alone: it migrates, and applies the
// configuration.
func (r *rig) serve(ctx context.Context, processes *errgroup.Group) error {
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	state := filepath.Join(r.folder, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	for i := range r.setup.replicas {
		one, err := r.newReplica(i, state)
		if err != nil {
			return err
		}
		r.replicas = append(r.replicas, one)
		processes.Go(func() error { one.keep(ctx); return nil })
		if i == 0 {
			if err := errors.Join(one.ready(starting), r.postgres.setTripwire(starting)); err != nil {
				return err
			}
		}
	}
	for _, one := range r.replicas {
		if err := one.ready(starting); err != nil {
			return err
		}
	}
	key, err := exec.CommandContext(starting, r.program, "--database", r.postgres.dsn, "--unsafe-postgres", "keys", "create", "till").Output()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	r.watch = &watch{postgres: r.postgres, seen: make(map[int64]string)}
	r.operator = &operator{replicas: r.replicas, state: state, wrong: r.ledger.wrongOrder, say: r.say}
	r.buyer = newBuyer(r.operator, r.postgres, r.orders.name, r.seed)
	r.clients = &clients{
		ledger: r.ledger, key: strings.TrimSpace(string(key)), seed: r.seed, open: &r.watch.open, bursts: make(chan int),
	}
	for _, one := range r.replicas {
		r.clients.grpc = append(r.clients.grpc, one.grpc)
	}
	r.nemesis = &nemesis{
		random: mrand.New(mrand.NewPCG(r.seed, 1)), replicas: r.replicas, postgres: r.postgres, books: r.books,
		all: r.platforms(), ledger: r.ledger, bursts: r.clients.bursts, courier: r.courier, lease: r.lease, faults: r.faults, say: r.say, counts: make(map[string]int),
	}
	return nil
}

func (r *rig) newReplica(i int, state string) (*replica, error) {
	one := &replica{name: fmt.Sprintf("replica-%d", i+1), clock: clocks[i%len(clocks)]}
	var err error
	if one.http, err = freeAddress(); err != nil {
		return nil, err
	}
	if one.grpc, err = freeAddress(); err != nil {
		return nil, err
	}
	if one.proxy, err = newProxy(r.postgres.dial); err != nil {
		return nil, err
	}
	if one.log, err = os.OpenFile(filepath.Join(r.folder, one.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	dsn, err := r.postgres.through(one.proxy.address())
	if err != nil {
		return nil, err
	}
	one.command = func() *exec.Cmd {
		cmd := exec.Command(r.program, "--state", state, "serve", "--development", "--config", r.config)
		for _, v := range os.Environ() {
			if !strings.HasPrefix(v, "RAFFSYNC_") && !strings.HasPrefix(v, "DATABASE_URL=") {
				cmd.Env = append(cmd.Env, v)
			}
		}
		cmd.Env = append(cmd.Env, "DATABASE_URL="+dsn, "RAFFSYNC_HTTP="+one.http, "RAFFSYNC_GRPC="+one.grpc, "RAFFSYNC_METRICS=off",
			"RAFFSYNC_LEASE="+r.lease.String(), "RAFFSYNC_UNSAFE_POSTGRES=true",
			fmt.Sprintf("%s=%d", clockVariable, int(one.clock/time.Second)), mutant.Variable+"="+string(r.flaw))
		return cmd
	}
	return one, nil
}
