package recipe

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"raffsync/connectors"
)

// request is one prepared call. It is never changed. Printed, it shows neither payload nor
// headers; they are behind a pointer because fmt, given a verb that it does not know for an
// unexported field, prints what that points to.
type request struct {
	name string
	*rendered
}

// rendered is what a call became with a step.
type rendered struct {
	call *call
	// target is path and query below the base.
	target string
	header http.Header // of which nothing is secret
	body   []byte
	// content is what the effect would be, whoever brings it about.
	content []byte
	// step is what it was made of, without the look-ups: what a question is made of.
	step connectors.Step
}

func (r *request) String() string {
	return fmt.Sprintf("call %s, %d bytes", r.name, len(r.body))
}

func (r *request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }
func (r *request) LogValue() slog.Value       { return slog.StringValue(r.String()) }

// Content implements [connectors.Content]: the path and query of the call, and what its
// map gave, without the idempotency key, and as it would be were the effect not there yet.
func (r *request) Content() []byte { return r.content }

// Preview implements [connectors.Previewer].
func (d *destination) Preview(prepared connectors.Request) connectors.Preview {
	r, ok := prepared.(*request)
	if !ok {
		return connectors.Preview{}
	}
	p := connectors.Preview{Method: r.call.method, URL: d.base.shown + r.target, Header: r.header.Clone(), Body: r.body}
	for name := range r.call.headers.secret {
		p.Header.Set(name, redacted)
	}
	for _, late := range r.call.headers.late {
		p.Header.Set(late.name, redacted)
	}
	return p
}
