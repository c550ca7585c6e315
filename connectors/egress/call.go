package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// callKey finds the call in the context that net/http hands to the dialer.
type callKey struct{}

// call follows one Do through net/http: it knows which connection the request
// was given, whether a byte of it was taken, and refuses a second sending.
// net/http calls GetConn and GotConn in the goroutine of Do; the fields that
// other goroutines write are atomic.
type call struct {
	asked    bool  // net/http got as far as asking for a connection
	conn     *wire // the connection the request was given, if any
	mark     int64 // what conn had taken before
	reused   bool
	replayed bool // net/http wanted to send again and was refused

	dialing atomic.Value // Phase, by the goroutine that dials for this call
	wrote   atomic.Bool  // the whole request was handed over
}

// trace returns the hooks that follow the call. cancel ends it.
func (c *call) trace(cancel context.CancelFunc) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			if c.sent() {
				c.replayed = true
				cancel()
				return
			}
			c.asked = true
			c.dialing.Store(PhaseConnect)
		},
		GotConn: func(info httptrace.GotConnInfo) {
			if c.sent() {
				// The cancel above may lose the race with an idle connection, which
				// would then carry the request a second time. Nothing can be
				// written to a closed one.
				info.Conn.Close()
				return
			}
			c.conn = info.Conn.(*wire)
			c.mark = c.conn.taken.Load()
			c.reused = info.Reused
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			c.wrote.Store(info.Err == nil)
		},
	}
}

// sent reports whether a byte of the request was taken by a connection. When
// RoundTrip has returned an error, nothing writes to the connection any more: it
// waits for its write loop to end.
func (c *call) sent() bool {
	return c.conn != nil && c.conn.taken.Load() > c.mark
}

// failed turns an error of RoundTrip into ours.
func (c *call) failed(ctx context.Context, req *http.Request, err error) *Error {
	var refused *refusal
	switch {
	case c.replayed:
		return newError(req, ErrUnknown, PhaseAnswer, "the connection was closed before an answer came", nil)
	case c.conn != nil:
		kind, phase := ErrNotSent, PhaseSend
		if c.sent() {
			kind = ErrUnknown
			if c.wrote.Load() {
				phase = PhaseAnswer
			}
		}
		reason, cause := explain(ctx, phase, err)
		return newError(req, kind, phase, reason, cause)
	case !c.asked && ctx.Err() == nil:
		return newError(req, ErrInvalidRequest, PhaseRequest, "method or headers are not valid HTTP", nil)
	case errors.As(err, &refused):
		return newError(req, ErrForbiddenAddress, PhaseConnect, refused.reason, nil)
	}
	phase := PhaseRequest
	if dialing, ok := c.dialing.Load().(Phase); ok {
		phase = dialing
	}
	reason, cause := explain(ctx, phase, err)
	return newError(req, ErrNotSent, phase, reason, cause)
}

// brokeOff turns an error of the answer's body into ours.
func (c *call) brokeOff(ctx context.Context, req *http.Request, err error) *Error {
	reason, cause := explain(ctx, PhaseBody, err)
	return newError(req, ErrUnknown, PhaseBody, reason, cause)
}

// wire is a connection that counts the bytes it took. Over TLS it counts
// plaintext of complete records: a server cannot read an incomplete one. Hiding
// the other methods of the connection below keeps every byte on this path.
type wire struct {
	net.Conn
	taken atomic.Int64
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.taken.Add(int64(n))
	return n, err
}
