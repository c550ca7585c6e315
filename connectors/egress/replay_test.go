package egress_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"testing"

	"raffsync/connectors/egress"
)

// closing answers the first request of each connection and keeps it alive, then
// reads a second one and breaks the connection, by a reset or an orderly end.
func closing(reset bool) func(*server, *net.TCPConn) {
	return func(s *server, conn *net.TCPConn) {
		reader := bufio.NewReader(conn)
		if _, err := s.read(reader); err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		if _, err := s.read(reader); err != nil {
			return
		}
		if reset {
			conn.SetLinger(0)
		}
		conn.Close()
	}
}

// repeatable are requests that net/http repeats, or might come to repeat.
var repeatable = []struct {
	name, method, body string
	header             string
}{
	{name: "GET", method: http.MethodGet},
	{name: "HEAD", method: http.MethodHead},
	{name: "OPTIONS", method: http.MethodOptions},
	{name: "TRACE", method: http.MethodTrace},
	{name: "DELETE", method: http.MethodDelete},
	{name: "POSTWithoutBody", method: http.MethodPost},
	{name: "POST", method: http.MethodPost, body: "{}"},
	{name: "PUT", method: http.MethodPut, body: "{}"},
	{name: "PATCH", method: http.MethodPatch, body: "{}"},
	{name: "GETWithBody", method: http.MethodGet, body: "{}"},
	{name: "POSTWithKey", method: http.MethodPost, body: "{}", header: "Idempotency-Key"},
	{name: "POSTWithXKey", method: http.MethodPost, body: "{}", header: "X-Idempotency-Key"},
	{name: "POSTWithKeyWithoutBody", method: http.MethodPost, header: "Idempotency-Key"},
	{name: "DELETEWithKey", method: http.MethodDelete, header: "Idempotency-Key"},
}

func TestClient_Do_SendsOnce(t *testing.T) {
	const pairs = 3
	for _, reset := range []bool{false, true} {
		for _, test := range repeatable {
			t.Run(test.name+"/Reset="+strconv.FormatBool(reset), func(t *testing.T) {
				s := serve(t, closing(reset))
				client := loopback(t, nil)
				ctx := t.Context()
				if reset { // under a deadline of the caller's
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, egress.DefaultTimeout)
					defer cancel()
				}
				send := func() (*egress.Response, error) {
					req := request(t, test.method, s.url(), test.body)
					if test.header != "" {
						req.Header.Set(test.header, "order/1042")
					}
					return client.Do(ctx, req)
				}
				for range pairs {
					if _, err := send(); err != nil {
						t.Fatal(err)
					}
					_, err := send()
					checkError(t, err, want{kind: egress.ErrUnknown, phase: egress.PhaseAnswer})
				}
				if got := s.requests.Load(); got != 2*pairs {
					t.Errorf("%d requests on the wire for %d calls", got, 2*pairs)
				}
			})
		}
	}
}

// The trap is real: the same server makes a plain http.Client send twice.
func TestClient_Do_SendsOnce_Control(t *testing.T) {
	s := serve(t, closing(false))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range 2 {
		answer, err := client.Do(request(t, http.MethodGet, s.url(), ""))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	if got := s.requests.Load(); got != 3 {
		t.Errorf("net/http put %d requests on the wire for 2 calls, want 3: this server no longer shows what it does", got)
	}
}

// A second idle connection is at hand when the first one breaks: the moment at
// which net/http would send again at once.
func TestClient_Do_SendsOnce_WithIdleConnections(t *testing.T) {
	const rounds, idle = 25, 3
	for range rounds {
		var together sync.WaitGroup
		together.Add(idle)
		s := serve(t, func(s *server, conn *net.TCPConn) {
			reader := bufio.NewReader(conn)
			if _, err := s.read(reader); err != nil {
				return
			}
			together.Done()
			together.Wait()
			io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			s.read(reader)
		})
		client := loopback(t, nil)
		var calls sync.WaitGroup
		for range idle {
			calls.Go(func() {
				if _, err := client.Do(t.Context(), request(t, http.MethodGet, s.url(), "")); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		_, err := client.Do(t.Context(), request(t, http.MethodGet, s.url(), ""))
		checkError(t, err, want{kind: egress.ErrUnknown, phase: egress.PhaseAnswer})
		if got := s.requests.Load(); got != idle+1 {
			t.Fatalf("%d requests on the wire for %d calls", got, idle+1)
		}
	}
}

// A connection that breaks before it takes a byte proves that nothing was sent:
// a request without body goes on to another one, a body leaves that to the caller.
func TestClient_Do_BreaksBeforeFirstByte(t *testing.T) {
	for _, test := range []struct {
		name, body   string
		wantRequests int64
	}{
		{"WithoutBody", "", 2},
		{"WithBody", "{}", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, func(s *server, conn *net.TCPConn) {
				reader := bufio.NewReader(conn)
				for {
					if _, err := s.read(reader); err != nil {
						return
					}
					io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				}
			})
			client := loopback(t, nil)
			if _, err := client.Do(t.Context(), request(t, http.MethodPost, s.url(), test.body)); err != nil {
				t.Fatal(err)
			}
			var once sync.Once
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				GotConn: func(info httptrace.GotConnInfo) {
					once.Do(func() { info.Conn.Close() })
				},
			})
			_, err := client.Do(ctx, request(t, http.MethodPost, s.url(), test.body))
			if test.body == "" && err != nil {
				t.Error(err)
			}
			if test.body != "" {
				checkError(t, err, want{kind: egress.ErrNotSent, phase: egress.PhaseSend})
			}
			if got := s.requests.Load(); got != test.wantRequests {
				t.Errorf("%d requests on the wire, want %d", got, test.wantRequests)
			}
		})
	}
}

func TestClient_Do_ReusesConnection(t *testing.T) {
	s := serve(t, func(s *server, conn *net.TCPConn) {
		reader := bufio.NewReader(conn)
		for {
			if _, err := s.read(reader); err != nil {
				return
			}
			body := make([]byte, 3*egress.DefaultMaxBody)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n")
			conn.Write(body)
		}
	})
	client := loopback(t, nil)
	for i := range 5 {
		response, err := client.Do(context.Background(), request(t, http.MethodPost, s.url(), "{}"))
		if err != nil {
			t.Fatal(err)
		}
		if response.Reused != (i > 0) {
			t.Errorf("call %d: reused = %t", i, response.Reused)
		}
	}
	if got := s.connections.Load(); got != 1 {
		t.Errorf("%d connections for 5 calls, want 1: answers over the cap must not cost the connection", got)
	}
}

// A body over the cap that does not go on costs its connection, and no more than a moment:
// neither the answer nor the context of the call.
func TestClient_Do_StallsPastTheCap(t *testing.T) {
	gone := make(chan struct{})
	s := serve(t, func(s *server, conn *net.TCPConn) {
		reader := bufio.NewReader(conn)
		s.read(reader)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
		conn.Write(make([]byte, egress.DefaultMaxBody))
		reader.ReadByte()
		close(gone)
	})
	ctx, cancel := context.WithTimeout(t.Context(), egress.DefaultTimeout)
	defer cancel()
	response, err := loopback(t, nil).Do(ctx, request(t, http.MethodPost, s.url(), "{}"))
	if err != nil || !response.Truncated || len(response.Body) != egress.DefaultMaxBody {
		t.Errorf("%+v, %v", response, err)
	}
	if ctx.Err() != nil {
		t.Error("the rest of the body was waited for until the call's deadline")
	}
	<-gone
}
