package egress

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// tlsSessions is how many hosts' sessions are kept for resumption, which spares
// round trips after short idle times. Go sends no early data, the one part of
// TLS that an attacker could replay.
const tlsSessions = 256

// dialer opens the connections. net/http dials in the background, apart from the
// request that asked, and may give the connection to a later one; the deadline is
// therefore the dialer's own.
type dialer struct {
	guard    *guard
	resolver *net.Resolver
	config   *tls.Config
	timeout  time.Duration
}

func newDialer(config Config, guard *guard) *dialer {
	return &dialer{
		guard:    guard,
		resolver: config.Resolver,
		timeout:  config.Timeout,
		config: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            config.RootCAs,
			NextProtos:         []string{"http/1.1"},
			ClientSessionCache: tls.NewLRUClientSessionCache(tlsSessions),
		},
	}
}

// plain dials for http URLs.
func (d *dialer) plain(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.dial(ctx, network, address, d.guard.allowPlain)
	if err != nil {
		return nil, err
	}
	return &wire{Conn: conn}, nil
}

// tls dials for https URLs and completes the handshake.
func (d *dialer) tls(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.dial(ctx, network, address, d.guard.allow)
	if err != nil {
		return nil, err
	}
	enter(ctx, PhaseTLS)
	config := d.config.Clone()
	config.ServerName, _, err = net.SplitHostPort(address)
	if err != nil {
		conn.Close()
		return nil, err
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return &wire{Conn: secured}, nil
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
