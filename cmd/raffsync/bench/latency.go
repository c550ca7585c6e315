package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	latencyRate   = 2000 // events a second
	latencyWindow = 5 * time.Second
	// probeEvery is how often one transaction is committed beside the load.
	probeEvery = 5 * time.Millisecond
)

// latency measures, at a steady load, how long acknowledgements and deliveries take,
// against one committed transaction in the same seconds.
func (r *rig) latency(ctx context.Context) (figures []Figure, err error) {
	var acknowledged durations
	onResult := func(e *raffsyncv1.Event, _ client.Result) { acknowledged.add(time.Since(e.OccurredAt.AsTime())) }
	err = r.atWork(ctx, noopOnly, func(s *shop, e *engine) error {
		l, err := connect(ctx, e.grpc, s.key, 1, onResult)
		if err != nil {
			return err
		}
		probe, err := startProbe(ctx, s)
		if err != nil {
			return err
		}
		pacing, stop := context.WithCancel(ctx)
		defer stop()
		paced := make(chan error, 1)
		go func() { paced <- l.pace(pacing, latencyRate) }()
		var acks, arrivals []float64
		var last string
		for window := range r.pairs + 1 {
			if err := pause(ctx, latencyWindow); err != nil {
				return err
			}
			a, err := e.ask(engineRequest{Do: "arrivals"})
			if err != nil {
				return err
			}
			ack, commit := percentile(acknowledged.take(), 0.99), percentile(probe.took.take(), 0.99)
			if window == 0 {
				continue // warm now
			}
			if a.Arrivals < latencyRate*int(latencyWindow.Seconds())/2 {
				return fmt.Errorf("only %d events arrived in %s: the machine does not keep up with %d/s", a.Arrivals, latencyWindow, latencyRate)
			}
			acks = append(acks, ack.Seconds()/commit.Seconds())
			arrivals = append(arrivals, a.P99.Seconds()/commit.Seconds())
			last = fmt.Sprintf("p99: acknowledged %s, arrived %s, one commit %s", ms(ack), ms(a.P99), ms(commit))
			r.say("latency: window %d of %d: %s", window, r.pairs, last)
		}
		stop()
		if err := errors.Join(<-paced, probe.stop(), l.flush(ctx), l.close(ctx)); err != nil {
			return err
		}
		figures = []Figure{
			figure("p99 at 2,000/s, acknowledgement, against one commit", ratio, goal{must: 5, aim: 2.5, lower: true}, acks, last),
			figure("p99 at 2,000/s, at the destination, against one commit", ratio, goal{must: 8, aim: 3.5, lower: true}, arrivals, ""),
		}
		return nil
	})
	return figures, err
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// pace sends so many events a second, evenly, until the context ends.
func (l *load) pace(ctx context.Context, rate int) error {
	begin, sent := time.Now(), 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for due := int(time.Since(begin).Seconds() * float64(rate)); sent < due; sent++ {
			if err := l.send(ctx); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// probe commits one row again and again.
type probe struct {
	took durations
	end  context.CancelFunc
	done chan error
}

func startProbe(ctx context.Context, s *shop) (*probe, error) {
	conn, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `CREATE TABLE probe (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload bytea NOT NULL)`); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	p := &probe{done: make(chan error, 1)}
	probing, end := context.WithCancel(ctx)
	p.end = end
	go func() {
		defer conn.Close(context.WithoutCancel(ctx))
		p.done <- p.run(probing, conn)
	}()
	return p, nil
}

func (p *probe) run(ctx context.Context, conn *pgx.Conn) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		begin := time.Now()
		if _, err := conn.Exec(ctx, `INSERT INTO probe (payload) VALUES ($1)`, payload); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		p.took.add(time.Since(begin))
	}
}

func (p *probe) stop() error {
	p.end()
	return <-p.done
}

// durations are gathered from many goroutines.
type durations struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *durations) add(one time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, one)
}

// take returns what was gathered since the last call.
func (d *durations) take() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.all
	d.all = nil
	return taken
}
