package egress_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"raffsync/connectors/egress"
)

// TestClient_Do_NotSent holds what is proven not to have reached the platform.
func TestClient_Do_NotSent(t *testing.T) {
	silent := func(s *server, conn *net.TCPConn) { <-s.ended }
	tests := []struct {
		name   string
		target func(t *testing.T) string
		change func(t *testing.T, c *egress.Config)
		want   want
	}{
		{
			name: "ConnectionRefused",
			target: func(t *testing.T) string {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				listener.Close()
				return "http://" + listener.Addr().String()
			},
			want: want{phase: egress.PhaseConnect, cause: syscall.ECONNREFUSED},
		},
		{
			name:   "UnknownName",
			target: func(*testing.T) string { return "https://nowhere.example.test" },
			change: func(t *testing.T, c *egress.Config) {
				c.Resolver = resolver(t, func(string, dnsmessage.Type) []netip.Addr { return nil })
			},
			want: want{phase: egress.PhaseResolve},
		},
		{
			name:   "SilentDNS",
			target: func(*testing.T) string { return "https://books.example.test" },
			change: func(t *testing.T, c *egress.Config) {
				c.Timeout = brief
				c.Resolver = resolver(t, nil)
			},
			want: want{phase: egress.PhaseResolve, cause: context.DeadlineExceeded},
		},
		{
			name: "NoTLS",
			target: func(t *testing.T) string {
				s := httptest.NewServer(http.NotFoundHandler())
				t.Cleanup(s.Close)
				return strings.Replace(s.URL, "http:", "https:", 1)
			},
			want: want{phase: egress.PhaseTLS},
		},
		{
			name:   "SilentInHandshake",
			target: func(t *testing.T) string { return "https://" + serve(t, silent).address },
			change: func(_ *testing.T, c *egress.Config) { c.Timeout = brief },
			want:   want{phase: egress.PhaseTLS, cause: context.DeadlineExceeded},
		},
		{
			name: "ResetInHandshake",
			target: func(t *testing.T) string {
				return "https://" + serve(t, func(_ *server, conn *net.TCPConn) {
					conn.Read(make([]byte, 1))
					conn.SetLinger(0)
				}).address
			},
			want: want{phase: egress.PhaseTLS, cause: syscall.ECONNRESET},
		},
		{
			name:   "BadPort",
			target: func(*testing.T) string { return "http://127.0.0.1:99999" },
			want:   want{phase: egress.PhaseResolve},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := loopback(t, func(c *egress.Config) {
				if test.change != nil {
					test.change(t, c)
				}
			})
			_, err := client.Do(t.Context(), request(t, http.MethodPost, test.target(t), secret))
			test.want.kind = egress.ErrNotSent
			checkError(t, err, test.want)
		})
	}
}

func TestClient_Do_Certificate(t *testing.T) {
	for _, test := range []struct {
		name    string
		version uint16 // the newest that the server speaks
		host    string
		trusted bool
		ok      bool
	}{
		{"TLS13", tls.VersionTLS13, "127.0.0.1", true, true},
		{"TLS12", tls.VersionTLS12, "127.0.0.1", true, true},
		{"TLS11", tls.VersionTLS11, "127.0.0.1", true, false},
		{"UnknownAuthority", tls.VersionTLS13, "127.0.0.1", false, false},
		{"OtherName", tls.VersionTLS13, "localhost", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 1 {
					t.Errorf("came over %s", r.Proto)
				}
			}))
			s.EnableHTTP2 = true // the client must not take the offer
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: test.version}
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			defer s.Close()
			client := loopback(t, func(c *egress.Config) {
				c.RootCAs = x509.NewCertPool()
				if test.trusted {
					c.RootCAs.AddCert(s.Certificate())
				}
			})
			for i := range 2 {
				response, err := client.Do(t.Context(), request(t, http.MethodPost, strings.Replace(s.URL, "127.0.0.1", test.host, 1), "{}"))
				if !test.ok {
					checkError(t, err, want{kind: egress.ErrNotSent, phase: egress.PhaseTLS})
				} else if err != nil || response.Status != http.StatusOK || response.Reused != (i > 0) {
					t.Fatal(response, err)
				}
			}
		})
	}
}

func TestClient_Do_CancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := serve(t, reply(""))
	_, err := loopback(t, nil).Do(ctx, request(t, http.MethodPost, s.url(), secret))
	checkError(t, err, want{egress.ErrNotSent, egress.PhaseRequest, context.Canceled})
	if s.connections.Load() != 0 {
		t.Error("a cancelled call opened a connection")
	}
}

func TestClient_Do_WaitsForConnection(t *testing.T) {
	arrived := make(chan struct{})
	s := serve(t, func(s *server, conn *net.TCPConn) {
		s.read(bufio.NewReader(conn))
		close(arrived)
		<-s.ended
	})
	client := loopback(t, func(c *egress.Config) { c.MaxConnsPerHost = 1 })
	first, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := client.Do(first, request(t, http.MethodPost, s.url(), "{}"))
		ended <- err
	}()
	<-arrived

	ctx, stop := context.WithTimeout(t.Context(), brief)
	defer stop()
	_, err := client.Do(ctx, request(t, http.MethodPost, s.url(), "{}"))
	checkError(t, err, want{egress.ErrNotSent, egress.PhaseConnect, context.DeadlineExceeded})
	cancel()
	checkError(t, <-ended, want{egress.ErrUnknown, egress.PhaseAnswer, context.Canceled})
	if got := s.connections.Load(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// closer tells whether a body was closed.
type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestClient_Do_InvalidRequest(t *testing.T) {
	tests := map[string]func(*http.Request){
		"NoURL":         func(r *http.Request) { r.URL = nil },
		"NoHost":        func(r *http.Request) { r.URL.Host = "" },
		"OnlyPort":      func(r *http.Request) { r.URL.Host = ":443" },
		"Opaque":        func(r *http.Request) { r.URL = &url.URL{Scheme: "https", Host: "127.0.0.1", Opaque: secret} },
		"Connect":       func(r *http.Request) { r.Method = http.MethodConnect },
		"BadMethod":     func(r *http.Request) { r.Method = "PO ST" },
		"BadHeader":     func(r *http.Request) { r.Header.Set("X-Token", secret+"\r\nX-Other: "+secret) },
		"NoHeader":      func(r *http.Request) { r.Header = nil },
		"UnknownLength": func(r *http.Request) { r.ContentLength = -1 },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			req := request(t, http.MethodPost, "http://127.0.0.1:9", "{}")
			body := &closer{Reader: strings.NewReader("{}")}
			req.Body = body
			spoil(req)
			_, err := loopback(t, nil).Do(t.Context(), req)
			checkError(t, err, want{kind: egress.ErrInvalidRequest, phase: egress.PhaseRequest})
			var e *egress.Error
			if !errors.As(err, &e) || !e.Permanent() {
				t.Error("an invalid request is permanent")
			}
			if !body.closed {
				t.Error("the body was not closed")
			}
		})
	}
}

func TestNew_RefusesBadConfig(t *testing.T) {
	prefix := netip.MustParsePrefix
	for name, config := range map[string]egress.Config{
		"NegativeTimeout":  {Timeout: -time.Second},
		"NegativeBody":     {MaxBody: -1},
		"HugeBody":         {MaxBody: egress.HardMaxBody + 1},
		"HTTPToNobody":     {AllowHTTP: true},
		"Everything":       {AllowPrivate: []netip.Prefix{prefix("0.0.0.0/0")}},
		"Public":           {AllowPrivate: []netip.Prefix{prefix("203.0.113.0/24")}},
		"LinkLocal":        {AllowPrivate: []netip.Prefix{prefix("169.254.0.0/16")}},
		"LoopbackByPrefix": {AllowPrivate: []netip.Prefix{prefix("127.0.0.0/8")}},
		"WiderThanPrivate": {AllowPrivate: []netip.Prefix{prefix("10.0.0.0/7")}},
		"Mapped":           {AllowPrivate: []netip.Prefix{prefix("::ffff:10.0.0.0/104")}},
		"NAT64":            {AllowPrivate: []netip.Prefix{prefix("64:ff9b::/96")}},
		"Invalid":          {AllowPrivate: []netip.Prefix{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := egress.New(config)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
		})
	}
}
