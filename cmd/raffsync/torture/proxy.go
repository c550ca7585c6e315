package torture

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// proxy stands between one replica and Postgres. It passes on what both say message by
// message (see wire.go), and so can fail at the moments that matter:
//
//	              Bind Execute Sync ──▶        the transaction commits with Sync
//	loseRequest   Bind Execute ✂               it never arrives: rolled back
//	loseAnswer    Bind Execute Sync ──▶ … ✂    it commits, and nobody hears of it
//	stallMessage  Bin… … …d Execute Sync       half a message, a pause longer than a lease
//	stallCopy     COPY CopyD… … …ata           the same in the middle of a COPY
//	stallLease    Par… … …se                   the same where it is about who holds a lease
//	stallHold     … Bi… … …nd                  the same where a delivery is to wait for a mapping
//
// To the replica the first two look the same.
type proxy struct {
	listener net.Listener
	dial     func() (net.Conn, error)

	mu      sync.Mutex
	links   map[*link]bool
	armed   []*trap
	barred  string // application that gets no session; none: ""
	closed  bool
	blocked chan struct{} // closed when the partition ends; nil while there is none
	running sync.WaitGroup
}

type fault int

const (
	noFault fault = iota
	loseRequest
	loseAnswer
	stallMessage
	stallCopy
	stallLease
	stallHold
)

// trap fails the next transaction of a session whose application's name begins so, once
// for all the proxies that it is set in.
type trap struct {
	application string
	fault       fault
	stall       time.Duration
	stays       bool // it springs each time, until it is disarmed
	once        sync.Once
	sprung      chan struct{} // closed when it did
}

func newProxy(dial func() (net.Conn, error)) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, dial: dial, links: make(map[*link]bool)}
	p.running.Go(p.accept)
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) })
	}
}

func (p *proxy) serve(client net.Conn) {
	server, err := p.dial()
	if err != nil {
		reset(client)
		return
	}
	l := &link{proxy: p, client: client, server: server, gone: make(chan struct{})}
	l.asked.Store(1) // by the startup
	if !p.add(l) {
		l.cut()
		return
	}
	defer p.remove(l)
	l.run()
}

func (p *proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links[l] = true
	return true
}

func (p *proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// arm sets a trap. It stays until it springs or is disarmed.
func (p *proxy) arm(t *trap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = append(p.armed, t)
}

// disarm takes every trap away.
func (p *proxy) disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = nil
}

// take takes one trap away.
func (p *proxy) take(t *trap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = slices.DeleteFunc(p.armed, func(o *trap) bool { return o == t })
}

// bar ends the sessions of an application, and lets it begin no other.
func (p *proxy) bar(application string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.barred = application
	for l := range p.links {
		if l.application == application {
			l.cut()
		}
	}
}

// begins takes note of whose session a connection is, unless that is barred.
func (p *proxy) begins(l *link, application string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.barred != "" && application == p.barred {
		return errBarred
	}
	l.application = application
	return nil
}

// spring hands over the trap that a transaction of this application is to run into.
func (p *proxy) spring(application string, wanted ...fault) *trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range p.armed {
		fits := false
		for _, f := range wanted {
			fits = fits || t.fault == f
		}
		if fits && strings.HasPrefix(application, t.application) {
			if t.stays {
				t.once.Do(func() { close(t.sprung) })
				return t
			}
			p.armed = append(p.armed[:i], p.armed[i+1:]...)
			first := false
			t.once.Do(func() {
				close(t.sprung)
				first = true
			})
			if first {
				return t
			}
			return nil
		}
	}
	return nil
}

// cutSome cuts each connection with the probability.
func (p *proxy) cutSome(random *rand.Rand, probability float64) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if random.Float64() < probability {
			l.cut()
			n++
		}
	}
	return n
}

// rests tells whether sessions of the application wait for no answer.
func (p *proxy) rests(application string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if strings.HasPrefix(l.application, application) && l.asked.Load() > 0 {
			return false
		}
	}
	return true
}

// partition lets nothing through in either direction for d, and cuts nothing.
func (p *proxy) partition(wait func(time.Duration), d time.Duration) {
	over := make(chan struct{})
	p.mu.Lock()
	if p.blocked != nil {
		p.mu.Unlock()
		return
	}
	p.blocked = over
	p.mu.Unlock()
	wait(d)
	p.mu.Lock()
	p.blocked = nil
	p.mu.Unlock()
	close(over)
}

// pass waits for the end of a partition.
func (p *proxy) pass(l *link) {
	p.mu.Lock()
	blocked := p.blocked
	p.mu.Unlock()
	if blocked != nil {
		select {
		case <-blocked:
		case <-l.gone:
		}
	}
}

func (p *proxy) close() error {
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		l.cut()
	}
	p.mu.Unlock()
	err := p.listener.Close()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// reset ends a connection in a way that nobody can take for an orderly end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
