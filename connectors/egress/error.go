package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// What an [*Error] is, for errors.Is. The last two are not sent either, so
// errors.Is(err, ErrNotSent) holds for them too.
var (
	// ErrNotSent: no byte of the request was taken by a connection. Sending it
	// again cannot make a second effect.
	ErrNotSent = errors.New("egress: not sent")
	// ErrUnknown: the request may have reached the platform and may have had its
	// effect. Ask the platform before sending it again, unless it deduplicates.
	ErrUnknown = errors.New("egress: outcome unknown")
	// ErrForbiddenAddress: the target is one that the client must not reach.
	// Permanent until the target or the allowances change.
	ErrForbiddenAddress = errors.New("egress: target is not allowed")
	// ErrInvalidRequest: the request is not one that can be sent. Permanent.
	ErrInvalidRequest = errors.New("egress: request is not valid")
)

// Phase is how far a call got.
type Phase string

// The phases in their order.
const (
	PhaseRequest Phase = "request" // nothing was opened
	PhaseResolve Phase = "resolve" // the name was being looked up
	PhaseConnect Phase = "connect" // waiting for a free connection, or connecting
	PhaseTLS     Phase = "tls"     // in the handshake
	PhaseSend    Phase = "send"    // the request was being written
	PhaseAnswer  Phase = "answer"  // waiting for status and headers
	PhaseBody    Phase = "body"    // reading the answer's body
)

// Error is why a Do brought no complete answer. Its text is made of the fields
// below, a fixed vocabulary but for method, host and addresses: it quotes neither
// the rest of the URL nor headers, bodies or anything the other side said.
type Error struct {
	Kind   error // ErrNotSent, ErrUnknown, ErrForbiddenAddress or ErrInvalidRequest
	Phase  Phase
	Method string
	Target string // scheme, host and port
	Reason string // what happened, in words for an operator
	// Cause is context.Canceled, context.DeadlineExceeded (for every kind of
	// time-out), a syscall.Errno or nil.
	Cause error
}

func newError(req *http.Request, kind error, phase Phase, reason string, cause error) *Error {
	e := &Error{Kind: kind, Phase: phase, Method: req.Method, Reason: reason, Cause: cause}
	if e.Method == "" {
		e.Method = http.MethodGet
	}
	if req.URL != nil && req.URL.Host != "" {
		e.Target = req.URL.Scheme + "://" + req.URL.Host
	}
	return e
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%v: %s: %s", e.Kind, strings.TrimSpace(e.Method+" "+e.Target), e.Reason)
	if e.Kind == ErrUnknown {
		text += "; ask the platform before sending again"
	}
	return text
}

// Unwrap returns Cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is matches Kind, and ErrNotSent for every kind but ErrUnknown.
func (e *Error) Is(target error) bool {
	return target == e.Kind || target == ErrNotSent && e.Kind != ErrUnknown
}

// Permanent reports whether the same request would fail the same way until
// someone changes it or the configuration.
func (e *Error) Permanent() bool {
	return e.Kind == ErrForbiddenAddress || e.Kind == ErrInvalidRequest
}

// explain puts err into words without quoting it: net/http quotes what the
// server said, crypto/x509 what its certificate says. ctx is that of the call; a
// context error while it is alive belongs to another call or to the dialer.
func explain(ctx context.Context, phase Phase, err error) (reason string, cause error) {
	during := map[Phase]string{
		PhaseRequest: "before anything was opened",
		PhaseResolve: "while its name was looked up",
		PhaseConnect: "while connecting",
		PhaseTLS:     "in the TLS handshake",
		PhaseSend:    "while the request was written",
		PhaseAnswer:  "while waiting for the answer",
		PhaseBody:    "while reading the answer's body",
	}[phase]

	dialing := phase == PhaseResolve || phase == PhaseConnect || phase == PhaseTLS
	var (
		network net.Error
		dns     *net.DNSError
		errno   syscall.Errno
		alert   tls.AlertError
		record  tls.RecordHeaderError
		issuer  x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		cert    *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "cancelled " + during, context.Canceled
	case ctx.Err() != nil, dialing && errors.As(err, &network) && network.Timeout():
		return "timed out " + during, context.DeadlineExceeded
	case errors.As(err, &dns) && dns.IsNotFound:
		return "DNS knows no address for its name", nil
	case errors.As(err, &dns):
		return "DNS gave no answer for its name", nil
	case errors.As(err, &issuer):
		return "its certificate is signed by an unknown authority", nil
	case errors.As(err, &name):
		return "its certificate is for another name", nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired or is not valid yet", nil
	case errors.As(err, &cert):
		return "its certificate cannot be verified", nil
	case errors.As(err, &record):
		return "it does not speak TLS on this port", nil
	case errors.As(err, &alert):
		return "TLS alert: " + alert.Error(), nil
	case errors.As(err, &errno):
		return errno.Error() + " " + during, errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "the connection was closed " + during, nil
	}
	return map[Phase]string{
		PhaseRequest: "the request could not be prepared",
		PhaseResolve: "its name could not be looked up",
		PhaseConnect: "no connection could be made",
		PhaseTLS:     "the TLS handshake failed; it needs TLS 1.2 or newer",
		PhaseSend:    "the request could not be written",
		PhaseAnswer:  "the connection broke, or the answer is not valid HTTP or its headers are too large",
		PhaseBody:    "the answer's body is not valid HTTP",
	}[phase], nil
}
