package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// callKey finds the call in the context that the dialer is given.
type callKey struct{}

// call is one Do: one connection, and one request written to it.
type call struct {
	*Client
	request *http.Request
	started time.Time
	until   time.Time // its deadline

	dialing   atomic.Value // Phase, by the goroutines that dial for it
	connected time.Duration
	firstByte time.Duration
	reused    bool
}

// open comes to a connection that may be given the request.
func (c *call) open(ctx context.Context) (*target, *conn, error) {
	if reason, kind := c.refuse(c.request); kind != nil {
		return nil, nil, newError(c.request, kind, PhaseRequest, reason, nil)
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, c.notConnected(ctx, PhaseRequest, err)
	}
	return c.connect(ctx)
}

// connect takes an idle connection, or opens one.
func (c *call) connect(ctx context.Context) (*target, *conn, error) {
	u := c.request.URL
	t, err := c.pool.enter(ctx, c.until, targetKey{u.Scheme, u.Host})
	if err != nil {
		return nil, nil, c.notConnected(ctx, PhaseConnect, err)
	}
	conn := c.pool.take(t)
	c.reused = conn != nil
	if conn == nil {
		ctx, cancel := context.WithDeadline(context.WithValue(ctx, callKey{}, c), c.until)
		defer cancel()
		if conn, err = c.dialer.to(ctx, u); err != nil {
			c.pool.leave(t, nil)
			phase, _ := c.dialing.Load().(Phase)
			return nil, nil, c.notConnected(ctx, phase, err)
		}
	}
	c.connected = time.Since(c.started)
	return t, conn, nil
}

// exchange sends the request and reads the answer.
func (c *call) exchange(ctx context.Context, t *target, conn *conn) (*Response, error) {
	keep := false
	_ = conn.SetDeadline(c.until) // what fails here, fails again below
	stay := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer func() {
		if stay() && keep {
			c.pool.leave(t, conn)
			return
		}
		conn.Close()
		<-conn.sent
		c.pool.leave(t, nil)
	}()
	conn.send(c.request)
	err := conn.begin(c.maxHeader)
	c.firstByte = time.Since(c.started)
	var answer *http.Response
	if err == nil {
		answer, err = conn.receive(c.request)
	}
	if err != nil {
		return nil, c.notAnswered(ctx, conn, err)
	}
	// Its body is not closed: that would read it to its end, however long that is.
	response := &Response{Status: answer.StatusCode, Header: answer.Header}
	whole, err := response.read(answer.Body, c.maxBody, func() {
		if hurry := time.Now().Add(drainTime); hurry.Before(c.until) {
			_ = conn.SetReadDeadline(hurry)
		}
	})
	response.Timing = Timing{Connected: c.connected, FirstByte: c.firstByte, Total: time.Since(c.started), Reused: c.reused}
	if err != nil {
		reason, cause := explain(ctx, PhaseBody, err)
		return response, newError(c.request, ErrUnknown, PhaseBody, reason, cause)
	}
	keep = whole && conn.reusable(c.request, answer)
	return response, nil
}

// notConnected is why there is no connection: nothing was sent.
func (c *call) notConnected(ctx context.Context, phase Phase, err error) *Error {
	var refused *refusal
	if errors.As(err, &refused) {
		return newError(c.request, ErrForbiddenAddress, PhaseConnect, refused.reason, nil)
	}
	reason, cause := explain(ctx, phase, err)
	return newError(c.request, ErrNotSent, phase, reason, cause)
}

// notAnswered is why there is no answer.
func (c *call) notAnswered(ctx context.Context, conn *conn, err error) *Error {
	conn.Close()
	<-conn.sent
	kind, phase := ErrUnknown, PhaseAnswer
	if conn.err != nil {
		phase = PhaseSend
		if errors.Is(err, net.ErrClosed) { // because of it
			err = conn.err
		}
		if conn.taken == 0 {
			kind = ErrNotSent
		}
	}
	reason, cause := explain(ctx, phase, err)
	return newError(c.request, kind, phase, reason, cause)
}
