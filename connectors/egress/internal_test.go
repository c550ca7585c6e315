package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"testing"

	"code.dny.dev/ssrf"
)

// TestGuard_Address asks the guard about addresses that a test must not connect to.
func TestGuard_Address(t *testing.T) {
	every := Config{AllowLoopback: true, AllowHTTP: true, AllowPrivate: private}
	ten := Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/16")}}
	for _, test := range []struct {
		name    string
		config  Config
		address string
		https   bool
		http    bool
	}{
		{"Public", Config{}, "8.8.8.8", true, false},
		{"PublicIPv6", Config{}, "2606:4700:4700::1111", true, false},
		{"PublicBesideAllowances", every, "8.8.8.8", true, false},
		{"Private", Config{}, "10.1.2.3", false, false},
		{"WithinPrefix", ten, "10.1.255.255", true, true},
		{"BesidePrefix", ten, "10.2.0.0", false, false},
		{"LoopbackBesidePrefix", ten, "127.0.0.1", false, false},
		{"Loopback", every, "127.0.0.1", true, true},
		{"LoopbackIPv6", every, "::1", true, true},
		{"CarrierGradeNAT", every, "100.64.0.1", true, true},
		{"UniqueLocal", every, "fd12::1", true, true},
		{"Metadata", every, "169.254.169.254", false, false},
		{"LinkLocal", every, "169.254.1.1", false, false},
		{"LinkLocalIPv6", every, "fe80::1", false, false},
		{"Alibaba", every, "100.100.100.200", false, false},
		{"Azure", every, "168.63.129.16", false, false},
		{"AWSIPv6", every, "fd00:ec2::254", false, false},
		{"GoogleIPv6", every, "fd20:ce::254", false, false},
		{"ScalewayIPv6", every, "fd00:42::42", false, false},
		{"NAT64", every, "64:ff9b::7f00:1", false, false},
		{"6to4", every, "2002:7f00:1::1", false, false},
		{"Unspecified", every, "0.0.0.0", false, false},
		{"IPv4Translated", every, "::ffff:0:127.0.0.1", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, err := newGuard(test.config)
			if err != nil {
				t.Fatal(err)
			}
			socket := netip.AddrPortFrom(netip.MustParseAddr(test.address), 443).String()
			if err := g.allow(socket); (err == nil) != test.https {
				t.Errorf("https: %v", err)
			}
			if err := g.allowPlain(socket); (err == nil) != test.http {
				t.Errorf("http: %v", err)
			}
			if addr := netip.MustParseAddr(test.address); addr.Is4() {
				mapped := netip.AddrPortFrom(netip.AddrFrom16(addr.As16()), 443).String()
				if err := g.allow(mapped); (err == nil) != test.https {
					t.Errorf("%s: %v", mapped, err)
				}
			}
		})
	}
}

// Nothing but a public address passes without an allowance.
func TestGuard_Address_Strict(t *testing.T) {
	g, err := newGuard(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::",
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd12:3456::1", "fc00::1", "fec0::1",
		"100.64.0.1", "100.127.255.254",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1",
		"2002:7f00:1::1", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
		"169.254.169.254", "169.254.170.2", "169.254.0.23", "169.254.42.42", "100.100.100.200",
		"168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42",
		"fe80::1", "ff02::1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1",
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "192.88.99.1", "5f00::1",
	} {
		socket := netip.AddrPortFrom(netip.MustParseAddr(address), 443).String()
		if g.allow(socket) == nil || g.allowPlain(socket) == nil {
			t.Errorf("%s is let through", address)
		}
	}
	if g.allow("no address") == nil {
		t.Error("what cannot be read is let through")
	}
}

// Each dialer asks its own guard. Loopback plays a public address here: https may
// reach it, plain http may not.
func TestDialer_AsksItsGuard(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialer := newDialer(Config{Timeout: DefaultTimeout}, &guard{
		http:   true,
		public: ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(loopback[0])),
	})
	var refused *refusal
	if _, err := dialer.plain(t.Context(), "tcp", listener.Addr().String()); !errors.As(err, &refused) {
		t.Errorf("plain http to a public address: %v", err)
	}
	go func() {
		if conn, err := listener.Accept(); err == nil {
			conn.Close()
		}
	}()
	if _, err := dialer.tls(t.Context(), "tcp", listener.Addr().String()); err == nil || errors.As(err, &refused) {
		t.Errorf("https to a public address got no further than %v", err)
	}
}

// net/http may still be given a connection after the call was cancelled because
// it wanted to send again; which of the two it sees first is chance.
func TestCall_ClosesSecondConnection(t *testing.T) {
	pipe := func() *wire {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		go io.Copy(io.Discard, theirs)
		return &wire{Conn: ours}
	}
	ctx, cancel := context.WithCancel(t.Context())
	call := new(call)
	trace := call.trace(cancel)
	first, second := pipe(), pipe()
	defer first.Close()

	trace.GetConn("")
	trace.GotConn(httptrace.GotConnInfo{Conn: first})
	if _, err := first.Write([]byte("POST")); err != nil {
		t.Fatal(err)
	}
	trace.GetConn("")
	if ctx.Err() == nil {
		t.Error("the call goes on")
	}
	trace.GotConn(httptrace.GotConnInfo{Conn: second})
	if _, err := second.Write([]byte("POST")); err == nil {
		t.Error("the second connection takes the request")
	}
	if !call.sent() || call.conn != first {
		t.Error("the call lost sight of its first connection")
	}
}

// Proxies of the environment are ignored for loopback by net/http itself, so no
// request of a test can show that they are ignored here.
func TestNew_UsesNoProxy(t *testing.T) {
	client, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if client.transport.Proxy != nil {
		t.Error("the transport has a proxy")
	}
	if protocols := client.transport.Protocols; protocols.HTTP2() || protocols.UnencryptedHTTP2() || !protocols.HTTP1() {
		t.Errorf("the transport speaks %v", protocols)
	}
}

// Every phase has words, whatever the error.
func TestExplain_KnowsEveryPhase(t *testing.T) {
	for _, phase := range []Phase{PhaseRequest, PhaseResolve, PhaseConnect, PhaseTLS, PhaseSend, PhaseAnswer, PhaseBody} {
		if reason, _ := explain(t.Context(), phase, http.ErrAbortHandler); reason == "" {
			t.Errorf("no words for %s", phase)
		}
	}
}
