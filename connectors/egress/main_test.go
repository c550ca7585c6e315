package egress_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"raffsync/connectors/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret stands in each part of a request that must never show in an error.
const secret = "s3cr3t"

// loopback is a client for the servers of these tests. change adjusts its
// configuration.
func loopback(t testing.TB, change func(*egress.Config)) *egress.Client {
	t.Helper()
	config := egress.Config{AllowLoopback: true, AllowHTTP: true}
	if change != nil {
		change(&config)
	}
	client, err := egress.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// request carries the secret in path, query, header and body.
func request(t testing.TB, method, base, body string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, base+"/"+secret+"?token="+secret, reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	return req
}

// want is what an error must be.
type want struct {
	kind  error
	phase egress.Phase
	cause error
}

// checkError checks err and that its text keeps the secret.
func checkError(t *testing.T, err error, want want) {
	t.Helper()
	var e *egress.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *egress.Error", err, err)
	}
	t.Log(err)
	if e.Kind != want.kind || e.Phase != want.phase {
		t.Errorf("got %v in phase %s, want %v in phase %s", e.Kind, e.Phase, want.kind, want.phase)
	}
	if want.cause != nil && !errors.Is(err, want.cause) {
		t.Errorf("cause is %v, want %v", e.Cause, want.cause)
	}
	if got, want := errors.Is(err, egress.ErrNotSent), want.kind != egress.ErrUnknown; got != want {
		t.Errorf("errors.Is(err, ErrNotSent) = %t, want %t", got, want)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb, err); strings.Contains(text, secret) {
			t.Errorf("%s shows the secret: %s", verb, text)
		}
	}
}

// server is a raw TCP server that shows what comes over the wire.
type server struct {
	address     string
	connections atomic.Int64
	requests    atomic.Int64
	ended       chan struct{} // closed when the test is over
}

func (s *server) url() string { return "http://" + s.address }

// serve runs handle for each connection until the test is over.
func serve(t testing.TB, handle func(s *server, conn *net.TCPConn)) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: listener.Addr().String(), ended: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			running.Go(func() {
				stop := make(chan struct{})
				defer close(stop)
				running.Go(func() {
					select {
					case <-s.ended:
					case <-stop:
					}
					conn.Close()
				})
				handle(s, conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		close(s.ended)
		listener.Close()
		running.Wait()
	})
	return s
}

// read takes one whole request off the wire and counts it.
func (s *server) read(reader *bufio.Reader) (*http.Request, error) {
	req, err := http.ReadRequest(reader)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return nil, err
	}
	s.requests.Add(1)
	return req, nil
}

// reply reads a request, writes answer and waits for the end of the test.
func reply(answer string) func(*server, *net.TCPConn) {
	return func(s *server, conn *net.TCPConn) {
		if _, err := s.read(bufio.NewReader(conn)); err != nil {
			return
		}
		io.WriteString(conn, answer)
		<-s.ended
	}
}

// brief is the time-out of tests in which the server never answers.
const brief = 150 * time.Millisecond
