package connectortest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// platform is a real HTTP server on loopback that keeps what reaches it.
type platform struct {
	*httptest.Server
	closing chan struct{}

	mu       sync.Mutex
	received []received
	respond  func(http.ResponseWriter, received)
}

// received is a request as the platform got it.
type received struct {
	*http.Request
	body []byte
	// number counts requests from 1.
	number int
}

// newPlatform answers as to a success until it is told otherwise.
func (s *suite) newPlatform(t *testing.T) *platform {
	p := &platform{
		closing: make(chan struct{}),
		respond: s.success,
	}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(func() {
		close(p.closing)
		p.Server.CloseClientConnections()
		p.Server.Close()
	})
	return p
}

func (p *platform) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the sender went away in the middle
	}
	p.mu.Lock()
	got := received{Request: r, body: body, number: len(p.received) + 1}
	p.received = append(p.received, got)
	respond := p.respond
	p.mu.Unlock()
	respond(w, got)
}

func (p *platform) answers(respond func(http.ResponseWriter, received)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.respond = respond
}

func (p *platform) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.received)
}

func (p *platform) all() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]received(nil), p.received...)
}

// hang answers nothing until the sender or the test has gone; came is closed when
// the first request has arrived.
func (p *platform) hang() (came <-chan struct{}) {
	arrived := make(chan struct{})
	var once sync.Once
	p.answers(func(_ http.ResponseWriter, r received) {
		once.Do(func() { close(arrived) })
		select {
		case <-r.Context().Done():
		case <-p.closing:
		}
		panic(http.ErrAbortHandler)
	})
	return arrived
}

// hijack gives the connection to end, which must close it.
func hijack(w http.ResponseWriter, end func(net.Conn)) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	end(conn)
}

// reset makes the sender see a TCP reset in place of an answer.
func reset(w http.ResponseWriter) {
	hijack(w, func(conn net.Conn) {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	})
}

// raw sends bytes in place of an answer.
func raw(w http.ResponseWriter, text string) {
	hijack(w, func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	})
}

// lockedBuffer is a buffer that several goroutines write to.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
