package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// maxAckBytes bounds one frame of the broker: a full window of invalid events,
// each with its violations, is a few MiB.
const maxAckBytes = 16 << 20

// route is how the broker is reached.
type route struct {
	target string
	// plaintext lets the key go over a connection without TLS.
	plaintext bool
	// dial is gRPC's own where it is nil.
	dial func(ctx context.Context, address string) (net.Conn, error)
}

// routeOf decides whether the key may go to the target in clear: to this machine, or
// where the configuration says so.
func routeOf(cfg Config) (route, error) {
	if cfg.Dial != nil {
		if cfg.TLS != nil {
			return route{}, errors.New("client: Config.Dial and Config.TLS exclude each other: Dial is for a broker in the same process")
		}
		dial := func(ctx context.Context, _ string) (net.Conn, error) { return cfg.Dial(ctx) }
		return route{target: "passthrough:///in-process", plaintext: true, dial: dial}, nil
	}
	host, port, err := net.SplitHostPort(cfg.Target)
	_, badPort := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || badPort != nil {
		return route{}, fmt.Errorf("client: Config.Target %q is no address: write \"host:port\", such as \"127.0.0.1:9090\"", cfg.Target)
	}
	r := route{target: "dns:///" + cfg.Target}
	switch {
	case cfg.TLS != nil && cfg.AllowPlaintext:
		return route{}, errors.New("client: Config.TLS and Config.AllowPlaintext exclude each other: leave one out")
	case cfg.AllowPlaintext:
		r.plaintext = true
	case cfg.TLS == nil && isLoopback(host):
		r.plaintext, r.dial = true, dialLoopback
	}
	return r, nil
}

func (r route) options(cfg Config) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithPerRPCCredentials(bearer{key: cfg.Key, plaintext: r.plaintext}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAckBytes)),
		// Resending is this package's business: it knows what was acknowledged.
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
	}
	if r.dial != nil {
		options = append(options, grpc.WithContextDialer(r.dial))
	}
	if r.plaintext {
		// A proxy named by the environment would read the key.
		return append(options, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.TLS != nil {
		conf = cfg.TLS.Clone()
	}
	return append(options, grpc.WithTransportCredentials(credentials.NewTLS(conf)))
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// dialLoopback looks at the address after name resolution: a "localhost" that
// points elsewhere gets no key.
func dialLoopback(ctx context.Context, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if !isLoopback(host) || host == "localhost" {
		return nil, fmt.Errorf("the target resolves to %s, which is not this machine: use TLS", host)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// bearer is the key as call metadata. Its fields never reach a log: gRPC asks for
// the metadata only.
type bearer struct {
	key       string
	plaintext bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.key}, nil
}

// RequireTransportSecurity makes gRPC itself refuse to send the key in clear.
func (b bearer) RequireTransportSecurity() bool { return !b.plaintext }
