package egress_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors/egress"
)

func TestClient_Do_Answer(t *testing.T) {
	var packed bytes.Buffer
	packer := gzip.NewWriter(&packed)
	packer.Write(make([]byte, 1<<20))
	packer.Close()

	handler := http.NewServeMux()
	handler.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if encoding := r.Header.Get("Accept-Encoding"); encoding != "" {
			t.Errorf("asked for %q", encoding)
		}
		w.Header().Set("X-Platform", "books")
		w.WriteHeader(http.StatusUnprocessableEntity)
		io.Copy(w, r.Body)
	})
	handler.HandleFunc("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed.Bytes())
	})
	handler.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	handler.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
	})
	s := httptest.NewServer(handler)
	defer s.Close()

	tests := []struct {
		name, path, body string
		maxBody          int
		wantStatus       int
		wantBody         string
		wantTruncated    bool
	}{
		{name: "Small", path: "/echo", body: "no such SKU", wantStatus: 422, wantBody: "no such SKU"},
		{name: "ExactlyTheCap", path: "/echo", body: "12345678", maxBody: 8, wantStatus: 422, wantBody: "12345678"},
		{name: "OneOverTheCap", path: "/echo", body: "123456789", maxBody: 8, wantStatus: 422, wantBody: "12345678", wantTruncated: true},
		{name: "LargeCap", path: "/echo", body: strings.Repeat("x", 300<<10), maxBody: egress.HardMaxBody, wantStatus: 422, wantBody: strings.Repeat("x", 300<<10)},
		{name: "Endless", path: "/endless", wantStatus: 200, wantBody: strings.Repeat("\x00", egress.DefaultMaxBody), wantTruncated: true},
		{name: "CompressedStaysSo", path: "/bomb", wantStatus: 200, wantBody: packed.String()[:egress.DefaultMaxBody], wantTruncated: true},
		{name: "NoBody", path: "/echo", wantStatus: 422},
		{name: "RedirectIsAnAnswer", path: "/away", body: "{}", wantStatus: 307},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := loopback(t, func(c *egress.Config) { c.MaxBody = test.maxBody })
			req, err := http.NewRequest(http.MethodPost, s.URL+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if response.Status != test.wantStatus || response.Truncated != test.wantTruncated {
				t.Errorf("status %d, truncated %t; want %d, %t", response.Status, response.Truncated, test.wantStatus, test.wantTruncated)
			}
			if diff := cmp.Diff(test.wantBody, string(response.Body)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if test.path == "/echo" && response.Header.Get("X-Platform") != "books" {
				t.Errorf("headers are %v", response.Header)
			}
		})
	}
}

// TestClient_Do_Unknown holds what may have reached the platform.
func TestClient_Do_Unknown(t *testing.T) {
	endless := func(start, text string) func(*server, *net.TCPConn) {
		return func(s *server, conn *net.TCPConn) {
			if _, err := s.read(bufio.NewReader(conn)); err != nil {
				return
			}
			io.WriteString(conn, start)
			for {
				if _, err := io.WriteString(conn, text); err != nil {
					return
				}
			}
		}
	}
	tests := []struct {
		name    string
		handle  func(*server, *net.TCPConn)
		timeout time.Duration
		want    want
		partial string // the part of a body that came
	}{
		{"SlowHeaders", reply("HTTP/1.1 200 OK\r\nX-Slow: "), brief, want{phase: egress.PhaseAnswer, cause: context.DeadlineExceeded}, ""},
		{"NoAnswer", reply(""), brief, want{phase: egress.PhaseAnswer, cause: context.DeadlineExceeded}, ""},
		{"SlowBody", reply("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), brief, want{phase: egress.PhaseBody, cause: context.DeadlineExceeded}, "half"},
		{"Garbage", reply("SSH-2.0-" + secret + "\r\n\r\n"), 0, want{phase: egress.PhaseAnswer}, ""},
		{"BadHeader", reply("HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n"), 0, want{phase: egress.PhaseAnswer}, ""},
		{"BadChunk", reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + secret + "\r\n"), 0, want{phase: egress.PhaseBody}, "ok"},
		{"HugeHeaders", endless("HTTP/1.1 200 OK\r\n", "X-"+secret+": "+strings.Repeat("x", 4000)+"\r\n"), 0, want{phase: egress.PhaseAnswer}, ""},
		{"HeadersOverTheLimit", reply("HTTP/1.1 204 No Content\r\n" + strings.Repeat("X-Long: "+strings.Repeat("x", 990)+"\r\n", 33) + "\r\n"), 0, want{phase: egress.PhaseAnswer}, ""},
		{"EndlessInterimAnswers", endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), 0, want{phase: egress.PhaseAnswer}, ""},
		{"ResetAfterRequest", func(s *server, conn *net.TCPConn) {
			s.read(bufio.NewReader(conn))
			conn.SetLinger(0)
		}, 0, want{phase: egress.PhaseAnswer, cause: syscall.ECONNRESET}, ""},
		{"ClosedAfterRequest", func(s *server, conn *net.TCPConn) { s.read(bufio.NewReader(conn)) }, 0, want{phase: egress.PhaseAnswer}, ""},
		{"ClosedInBody", func(s *server, conn *net.TCPConn) {
			s.read(bufio.NewReader(conn))
			io.WriteString(conn, "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf")
		}, 0, want{phase: egress.PhaseBody}, "half"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, test.handle)
			client := loopback(t, func(c *egress.Config) { c.Timeout = test.timeout })
			response, err := client.Do(t.Context(), request(t, http.MethodPost, s.url(), secret))
			test.want.kind = egress.ErrUnknown
			checkError(t, err, test.want)
			if test.want.phase != egress.PhaseBody {
				if response != nil {
					t.Errorf("got an answer: %+v", response)
				}
				return
			}
			if response == nil || response.Status/100 != 2 || string(response.Body) != test.partial || !response.Truncated {
				t.Errorf("the answer as far as it came is %+v", response)
			}
		})
	}
}

func TestClient_Do_CancelledMidFlight(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(s *server, conn *net.TCPConn) {
		s.read(bufio.NewReader(conn))
		cancel()
		<-s.ended
	})
	_, err := loopback(t, nil).Do(ctx, request(t, http.MethodPost, s.url(), secret))
	checkError(t, err, want{egress.ErrUnknown, egress.PhaseAnswer, context.Canceled})
}

// A platform that stops reading leaves a request half written.
func TestClient_Do_HalfWritten(t *testing.T) {
	s := serve(t, func(s *server, conn *net.TCPConn) { <-s.ended })
	client := loopback(t, func(c *egress.Config) { c.Timeout = brief })
	_, err := client.Do(t.Context(), request(t, http.MethodPost, s.url(), strings.Repeat("x", 16<<20)))
	checkError(t, err, want{egress.ErrUnknown, egress.PhaseSend, context.DeadlineExceeded})
}

func TestClient_Do_LeavesRequestAlone(t *testing.T) {
	s := serve(t, reply("HTTP/1.1 204 No Content\r\n\r\n"))
	req := request(t, http.MethodPost, s.url(), "{}")
	before := fmt.Sprint(req.Header, req.URL, req.Method, req.GetBody != nil)
	if _, err := loopback(t, nil).Do(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprint(req.Header, req.URL, req.Method, req.GetBody != nil); after != before {
		t.Errorf("request was %s, is %s", before, after)
	}
}
