package egress_test

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"raffsync/connectors/egress"
)

// forbidden are spellings of this machine, so that a guard that fails opens
// nothing else to these tests; TestGuard_Address asks about the others.
var forbidden = []string{
	"127.0.0.1", "127.255.255.254", "0.0.0.0", "::1", "::",
	"::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::1",
}

// canary is a listener that nobody may reach.
func canary(t *testing.T) *server {
	return serve(t, func(_ *server, conn *net.TCPConn) { conn.Close() })
}

func TestClient_Do_ForbiddenAddress(t *testing.T) {
	canary := canary(t)
	_, port, _ := net.SplitHostPort(canary.address)
	strict, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range forbidden {
		for _, scheme := range []string{"https", "http"} {
			t.Run(scheme+"/"+address, func(t *testing.T) {
				_, err := strict.Do(t.Context(), request(t, http.MethodPost, scheme+"://"+net.JoinHostPort(address, port), secret))
				checkError(t, err, want{kind: egress.ErrForbiddenAddress, phase: egress.PhaseRequest})
			})
		}
		// The same address behind a name: found out on the socket, after DNS.
		t.Run("name/"+address, func(t *testing.T) {
			addr := netip.MustParseAddr(address)
			client, err := egress.New(egress.Config{Resolver: resolver(t, func(string, dnsmessage.Type) []netip.Addr {
				return []netip.Addr{addr}
			})})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Do(t.Context(), request(t, http.MethodPost, "https://books.example.test:"+port, secret))
			var e *egress.Error
			if errors.As(err, &e) && e.Cause != nil && addr.Is6() && !addr.Is4In6() {
				t.Skipf("this machine has no IPv6 socket to check: %v", err)
			}
			checkError(t, err, want{kind: egress.ErrForbiddenAddress, phase: egress.PhaseConnect})
		})
	}
	if got := canary.connections.Load(); got != 0 {
		t.Errorf("the canary was hit %d times", got)
	}
}

func TestClient_Do_ForbiddenSpelling(t *testing.T) {
	canary := canary(t)
	_, port, _ := net.SplitHostPort(canary.address)
	everything := egress.Config{
		AllowLoopback: true, AllowHTTP: true,
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fc00::/7")},
	}
	for name, config := range map[string]egress.Config{"Strict": {}, "AllAllowed": everything} {
		client, err := egress.New(config)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{
			"2130706433", "017700000001", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.0x1", "1.2.3.4.5", "0x",
			"2130706433.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1%25lo]", "[64:ff9b::7f00:1]",
			"user@127.0.0.1", "user:" + secret + "@127.0.0.1", secret + "@127.0.0.1", "books.example.test@127.0.0.1", "127.0.0.1@127.0.0.1",
		} {
			for _, scheme := range []string{"http", "https"} {
				t.Run(name+"/"+scheme+"/"+host, func(t *testing.T) {
					_, err := client.Do(t.Context(), request(t, http.MethodGet, scheme+"://"+host+":"+port, ""))
					checkError(t, err, want{kind: egress.ErrForbiddenAddress, phase: egress.PhaseRequest})
				})
			}
		}
		for _, scheme := range []string{"ftp", "file", "gopher", "unix", "HTTP2", ""} {
			t.Run(name+"/Scheme="+scheme, func(t *testing.T) {
				req := request(t, http.MethodGet, "https://"+canary.address, "")
				req.URL.Scheme = scheme
				_, err := client.Do(t.Context(), req)
				checkError(t, err, want{kind: egress.ErrForbiddenAddress, phase: egress.PhaseRequest})
			})
		}
	}
	if got := canary.connections.Load(); got != 0 {
		t.Errorf("the canary was hit %d times", got)
	}
}

// DNS says a public address to whoever checks, and loopback to whoever connects.
func TestClient_Do_RebindingDNS(t *testing.T) {
	canary := canary(t)
	_, port, _ := net.SplitHostPort(canary.address)
	var asked atomic.Int64
	flipping := resolver(t, func(_ string, kind dnsmessage.Type) []netip.Addr {
		if kind == dnsmessage.TypeA && asked.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("8.8.8.8")}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	})
	before, err := flipping.LookupNetIP(t.Context(), "ip4", "flip.example.test")
	if err != nil || len(before) != 1 || before[0].Unmap().String() != "8.8.8.8" {
		t.Fatalf("the check before the dial sees %v, %v", before, err)
	}
	config := egress.Config{Resolver: flipping}
	strict, err := egress.New(config)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err = strict.Do(t.Context(), request(t, http.MethodPost, "https://flip.example.test:"+port, secret))
		checkError(t, err, want{kind: egress.ErrForbiddenAddress, phase: egress.PhaseConnect})
	}
	if got := canary.connections.Load(); got != 0 {
		t.Errorf("the canary was hit %d times", got)
	}

	// Where loopback is allowed the same name does reach the canary: it was the
	// guard that stopped it.
	config.AllowLoopback = true
	lenient, err := egress.New(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lenient.Do(t.Context(), request(t, http.MethodPost, "https://flip.example.test:"+port, secret))
	checkError(t, err, want{kind: egress.ErrNotSent, phase: egress.PhaseTLS})
	if got := canary.connections.Load(); got != 1 {
		t.Errorf("the control hit the canary %d times, want 1", got)
	}
}

func TestClient_Do_PlainHTTP(t *testing.T) {
	s := serve(t, reply("HTTP/1.1 204 No Content\r\n\r\n"))
	_, port, _ := net.SplitHostPort(s.address)
	target := resolver(t, func(name string, _ dnsmessage.Type) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr(strings.TrimSuffix(strings.ReplaceAll(name, "-", "."), ".example.test."))}
	})
	ten := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, test := range []struct {
		name   string
		config egress.Config
		url    string
		ok     bool
	}{
		{"NotAllowed", egress.Config{AllowLoopback: true}, "http://127.0.0.1", false},
		{"Loopback", egress.Config{AllowLoopback: true, AllowHTTP: true}, "http://127.0.0.1", true},
		{"LoopbackByName", egress.Config{AllowLoopback: true, AllowHTTP: true}, "http://127-0-0-1.example.test", true},
		{"LoopbackWherePrivateIsAllowed", egress.Config{AllowPrivate: ten, AllowHTTP: true}, "http://127.0.0.1", false},
		{"ByNameWherePrivateIsAllowed", egress.Config{AllowPrivate: ten, AllowHTTP: true}, "http://127-0-0-1.example.test", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config.Resolver = target
			client, err := egress.New(test.config)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			u, err := url.Parse(test.url + ":" + port)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Do(t.Context(), &http.Request{URL: u, Header: http.Header{}})
			if test.ok && err != nil || !test.ok && !errors.Is(err, egress.ErrForbiddenAddress) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestClient_Do_FollowsNoRedirect(t *testing.T) {
	canary := canary(t)
	for _, location := range []string{"http://169.254.169.254/latest/meta-data/", canary.url()} {
		for _, status := range []string{"301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"} {
			s := serve(t, reply("HTTP/1.1 "+status+"\r\nLocation: "+location+"\r\nContent-Length: 0\r\n\r\n"))
			response, err := loopback(t, nil).Do(t.Context(), request(t, http.MethodPost, s.url(), "{}"))
			if err != nil {
				t.Fatal(err)
			}
			if response.Status/100 != 3 || response.Header.Get("Location") != location {
				t.Errorf("answer is %+v", response)
			}
			if got := s.requests.Load(); got != 1 {
				t.Errorf("%d requests for a %s", got, status)
			}
		}
	}
	if got := canary.connections.Load(); got != 0 {
		t.Errorf("the canary was hit %d times", got)
	}
}
