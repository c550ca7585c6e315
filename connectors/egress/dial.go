package egress

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"syscall"

	"golang.org/x/net/http/httpguts"
)

// tlsSessions is how many hosts' sessions are kept for resumption, which spares
// round trips after short idle times. Go sends no early data, the one part of
// TLS that an attacker could replay.
const tlsSessions = 256

// dialer opens the connections.
type dialer struct {
	guard    *guard
	resolver *net.Resolver
	config   *tls.Config
}

func newDialer(config Config, guard *guard) *dialer {
	return &dialer{
		guard:    guard,
		resolver: config.Resolver,
		config: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            config.RootCAs,
			NextProtos:         []string{"http/1.1"},
			ClientSessionCache: tls.NewLRUClientSessionCache(tlsSessions),
		},
	}
}

// to dials for a URL.
func (d *dialer) to(ctx context.Context, u *url.URL) (*conn, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	address, err := httpguts.PunycodeHostPort(net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" {
		return d.plain(ctx, "tcp", address)
	}
	return d.tls(ctx, "tcp", address)
}

// plain dials for http URLs.
func (d *dialer) plain(ctx context.Context, network, address string) (*conn, error) {
	socket, err := d.dial(ctx, network, address, d.guard.allowPlain)
	if err != nil {
		return nil, err
	}
	return newConn(socket, socket)
}

// tls dials for https URLs and completes the handshake.
func (d *dialer) tls(ctx context.Context, network, address string) (*conn, error) {
	socket, err := d.dial(ctx, network, address, d.guard.allow)
	if err != nil {
		return nil, err
	}
	enter(ctx, PhaseTLS)
	config := d.config.Clone()
	config.ServerName, _, err = net.SplitHostPort(address)
	if err != nil {
		socket.Close()
		return nil, err
	}
	secured := tls.Client(socket, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		socket.Close()
		return nil, err
	}
	return newConn(socket, secured)
}

// dial looks the name up and connects to the first address that allow lets
// through. The check runs for each address, on the socket, after DNS.
func (d *dialer) dial(ctx context.Context, network, address string, allow func(address string) error) (net.Conn, error) {
	enter(ctx, PhaseResolve)
	dialer := net.Dialer{
		Resolver: d.resolver,
		ControlContext: func(ctx context.Context, _, address string, _ syscall.RawConn) error {
			enter(ctx, PhaseConnect)
			return allow(address)
		},
	}
	return dialer.DialContext(ctx, network, address)
}

// enter notes how far the call that dials has come.
func enter(ctx context.Context, phase Phase) {
	if call, ok := ctx.Value(callKey{}).(*call); ok {
		call.dialing.Store(phase)
	}
}
