package egress_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"raffsync/connectors/egress"
)

// Connections are shared by many calls, some of which are given up in the middle: each
// answer is that of its own request.
func TestClient_Do_AnswersBelongToTheirRequests(t *testing.T) {
	const callers, calls, most = 16, 100, 4
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Give-Up") != "" {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, r.Header.Get("X-Number"))
	}))
	defer s.Close()
	client := loopback(t, func(c *egress.Config) { c.MaxConnsPerHost = most })
	var done sync.WaitGroup
	for caller := range callers {
		done.Go(func() {
			for i := range calls {
				ctx, cancel := context.WithCancel(t.Context())
				req := request(t, http.MethodPost, s.URL, "{}")
				number := strconv.Itoa(caller*calls + i)
				req.Header.Set("X-Number", number)
				givenUp := i%10 == 9
				if givenUp {
					req.Header.Set("X-Give-Up", "1")
					time.AfterFunc(time.Duration(i)*50*time.Microsecond, cancel)
				}
				response, err := client.Do(ctx, req)
				if !givenUp && (err != nil || string(response.Body) != number) {
					t.Errorf("call %s got %+v, %v", number, response, err)
				}
				if givenUp && err == nil {
					t.Errorf("call %s was given up, and got %+v", number, response)
				}
				cancel()
			}
		})
	}
	done.Wait()
}

// What nobody uses is closed after its time, or at once where the client is.
func TestClient_ClosesIdleConnections(t *testing.T) {
	for name, test := range map[string]struct {
		config func(*egress.Config)
		close  bool
	}{
		"AfterItsTime":  {config: func(c *egress.Config) { c.IdleTimeout = 20 * time.Millisecond }},
		"WithTheClient": {config: func(c *egress.Config) { c.IdleTimeout = time.Hour }, close: true},
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan error, 1)
			s := serve(t, func(s *server, conn *net.TCPConn) {
				reader := bufio.NewReader(conn)
				if _, err := s.read(reader); err != nil {
					return
				}
				io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				_, err := reader.ReadByte()
				closed <- err
			})
			client := loopback(t, test.config)
			if _, err := client.Do(t.Context(), request(t, http.MethodPost, s.url(), "{}")); err != nil {
				t.Fatal(err)
			}
			if test.close {
				client.Close()
			}
			if err := <-closed; err != io.EOF {
				t.Errorf("the platform sees %v, want the end of the connection", err)
			}
		})
	}
}

// More than are to be kept are closed.
func TestClient_Do_KeepsSoManyIdleConnections(t *testing.T) {
	const calls = 4
	var together sync.WaitGroup
	together.Add(calls)
	closed := make(chan struct{}, calls)
	s := serve(t, func(s *server, conn *net.TCPConn) {
		reader := bufio.NewReader(conn)
		if _, err := s.read(reader); err != nil {
			return
		}
		together.Done()
		together.Wait()
		io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		reader.ReadByte()
		closed <- struct{}{}
	})
	client := loopback(t, func(c *egress.Config) { c.MaxIdleConns, c.IdleTimeout = 1, time.Hour })
	var done sync.WaitGroup
	for range calls {
		done.Go(func() {
			if _, err := client.Do(t.Context(), request(t, http.MethodPost, s.url(), "{}")); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	for range calls - 1 {
		<-closed
	}
}
