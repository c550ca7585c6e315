package egress

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Limits and defaults of [Config].
const (
	DefaultTimeout         = 10 * time.Second
	DefaultMaxBody         = 1 << 10
	HardMaxBody            = 1 << 20
	DefaultMaxHeader       = 32 << 10
	DefaultMaxConnsPerHost = 128
	DefaultMaxIdleConns    = 512
	// DefaultIdleTimeout is shorter than the keep-alive of common servers (5 s in
	// Node.js and Apache). A connection that the server closes just as a request
	// is written makes that request's outcome unknown, which costs more than a
	// new connection.
	DefaultIdleTimeout = 4 * time.Second
)

// Config says whom a client may reach and how much it may use. The zero value is
// the strict one: https to public addresses only.
type Config struct {
	// Timeout bounds a whole Do: waiting for a connection, DNS, TLS, request and
	// answer. 0 means DefaultTimeout. An earlier deadline of the context wins.
	Timeout time.Duration
	// MaxBody is how many bytes of an answer are kept, 1 to HardMaxBody. 0 means
	// DefaultMaxBody.
	MaxBody int
	// MaxHeader is how many bytes of status line and headers an answer may have,
	// interim 1xx answers included. 0 means DefaultMaxHeader.
	MaxHeader int
	// MaxConnsPerHost bounds the connections to one scheme, host and port, those
	// in use and those idle; a Do past it waits for one within its time. 0 means
	// DefaultMaxConnsPerHost.
	MaxConnsPerHost int
	// MaxIdleConns bounds the idle connections to all hosts. 0 means
	// DefaultMaxIdleConns.
	MaxIdleConns int
	// IdleTimeout is how long an unused connection is kept. 0 means
	// DefaultIdleTimeout.
	IdleTimeout time.Duration

	// AllowLoopback permits 127.0.0.0/8 and ::1. For development and tests.
	AllowLoopback bool
	// AllowPrivate permits these prefixes. Each must lie within 10.0.0.0/8,
	// 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7. Metadata services
	// inside them stay refused.
	AllowPrivate []netip.Prefix
	// AllowHTTP permits plain http to the addresses that AllowLoopback and
	// AllowPrivate name, and to no other: a public address is reached over https
	// or not at all. It needs one of the two.
	AllowHTTP bool

	// RootCAs verifies servers; nil means the system's.
	RootCAs *x509.CertPool
	// Resolver looks names up; nil means the system's. What it answers is
	// checked like any other's answer.
	Resolver *net.Resolver
}

// Client sends HTTP requests under the promises of the package. It is safe for
// concurrent use; make one for each set of allowances and keep it.
type Client struct {
	guard     *guard
	transport *http.Transport
	timeout   time.Duration
	maxBody   int
}

// New checks config and returns a client. It opens nothing.
func New(config Config) (*Client, error) {
	for _, limit := range []struct {
		name    string
		value   *int
		initial int
	}{
		{"MaxBody", &config.MaxBody, DefaultMaxBody},
		{"MaxHeader", &config.MaxHeader, DefaultMaxHeader},
		{"MaxConnsPerHost", &config.MaxConnsPerHost, DefaultMaxConnsPerHost},
		{"MaxIdleConns", &config.MaxIdleConns, DefaultMaxIdleConns},
	} {
		if *limit.value < 0 {
			return nil, fmt.Errorf("egress: %s is %d; give a positive number, or 0 for %d", limit.name, *limit.value, limit.initial)
		}
		if *limit.value == 0 {
			*limit.value = limit.initial
		}
	}
	for _, limit := range []struct {
		name    string
		value   *time.Duration
		initial time.Duration
	}{
		{"Timeout", &config.Timeout, DefaultTimeout},
		{"IdleTimeout", &config.IdleTimeout, DefaultIdleTimeout},
	} {
		if *limit.value < 0 {
			return nil, fmt.Errorf("egress: %s is %s; give a positive duration, or 0 for %s", limit.name, *limit.value, limit.initial)
		}
		if *limit.value == 0 {
			*limit.value = limit.initial
		}
	}
	if config.MaxBody > HardMaxBody {
		return nil, fmt.Errorf("egress: MaxBody is %d; at most %d bytes of an answer are kept", config.MaxBody, HardMaxBody)
	}
	guard, err := newGuard(config)
	if err != nil {
		return nil, err
	}

	dialer := newDialer(config, guard)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &Client{
		guard: guard,
		transport: &http.Transport{
			Proxy:                  nil, // not even from the environment
			DialContext:            dialer.plain,
			DialTLSContext:         dialer.tls,
			Protocols:              protocols,
			DisableCompression:     true,
			MaxIdleConns:           config.MaxIdleConns,
			MaxIdleConnsPerHost:    config.MaxConnsPerHost,
			MaxConnsPerHost:        config.MaxConnsPerHost,
			IdleConnTimeout:        config.IdleTimeout,
			MaxResponseHeaderBytes: int64(config.MaxHeader),
		},
		timeout: config.Timeout,
		maxBody: config.MaxBody,
	}, nil
}

// Do sends req once and reads the answer. Redirects are answers like any other:
// they come back with their status and Location and are not followed.
//
// The body must have a known length, as [http.NewRequest] sets it for bytes, and
// must not block. Do closes it and leaves the rest of req unchanged.
//
// Every error is an [*Error]. When status and headers came but the body broke
// off, both results are set: the answer as far as it came, and an [ErrUnknown]
// in [PhaseBody]. A caller for whom the status decides may go by it.
func (c *Client) Do(ctx context.Context, req *http.Request) (*Response, error) {
	if reason, kind := c.refuse(req); kind != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, newError(req, kind, PhaseRequest, reason, nil)
	}
	ctx, cancel := c.bounded(ctx, req)
	defer cancel()

	call := new(call)
	out := req.WithContext(httptrace.WithClientTrace(context.WithValue(ctx, callKey{}, call), call.trace(cancel)))
	out.GetBody = nil // one of the things that let net/http send twice
	//lint:ignore SA1019 a caller's old way to cancel is taken from the copy: the context is the only one
	out.Cancel = nil

	answer, err := c.transport.RoundTrip(out)
	if err != nil {
		return nil, call.failed(ctx, req, err)
	}
	defer answer.Body.Close()
	response := &Response{Status: answer.StatusCode, Header: answer.Header, Reused: call.reused}
	if err := response.read(answer.Body, c.maxBody, call.conn); err != nil {
		return response, call.brokeOff(ctx, req, err)
	}
	return response, nil
}

// bounded is ctx with what ends a call: its time-out, and a cancel that keeps net/http from
// sending again. Neither is needed where ctx ends before that and there is a body: what was
// read of one nobody can send again without GetBody. A context of its own for each request
// of a batch costs as much as all else that is allocated here.
func (c *Client) bounded(ctx context.Context, req *http.Request) (context.Context, context.CancelFunc) {
	end, ends := ctx.Deadline()
	if ends && time.Until(end) <= c.timeout && req.ContentLength > 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.timeout)
}

// Close closes the idle connections. Calls under way end as they would have.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// refuse says why req must not be sent at all, or returns a nil kind.
func (c *Client) refuse(req *http.Request) (reason string, kind error) {
	switch {
	case req.URL == nil || req.URL.Opaque != "" || req.URL.Hostname() == "":
		return "the URL has no host; give https://host/path", ErrInvalidRequest
	case strings.EqualFold(req.Method, http.MethodConnect):
		return "CONNECT opens a tunnel; use another method", ErrInvalidRequest
	case req.Body != nil && req.Body != http.NoBody && req.ContentLength <= 0:
		return "the body's length is unknown; build the request from bytes", ErrInvalidRequest
	}
	if err := c.guard.target(req.URL); err != nil {
		return err.Error(), ErrForbiddenAddress
	}
	return "", nil
}

// Allows says of a URL what Do would, as far as that is known before its name is looked
// up: so that a setting that points inward is refused where it is read.
func (c *Client) Allows(u *url.URL) error { return c.guard.target(u) }
