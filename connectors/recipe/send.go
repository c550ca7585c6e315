package recipe

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/propagation"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/egress"
	"raffsync/connectors/mapping"
	"raffsync/connectors/outcome"
	"raffsync/connectors/rules"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Kinds, short enough to keep the code readable.
const (
	delivered   = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	transient   = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	unknown     = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	authExpired = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_EXPIRED
	authRevoked = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED
	poison      = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON
)

// maxAnswer is how many bytes of an answer are read, and looked at by rules, receipts and
// finds.
const maxAnswer = rules.MaxBody

const redacted = outcome.Redacted

// Send implements [connectors.Destination].
func (d *destination) Send(ctx context.Context, prepared connectors.Request) connectors.Outcome {
	r, ok := prepared.(*request)
	if !ok {
		return outcome.Foreign(prepared)
	}
	x := d.exchange(ctx, r.rendered)
	if x.Kind != delivered {
		return x.Outcome
	}
	document := rules.Document(x.response.Body, x.response.Truncated)
	r.call.receipt.fill(&x, d.reading(ctx, document, x.response.Header))
	return x.Outcome
}

// exchanged is a request that was sent, and what came of it.
type exchanged struct {
	connectors.Outcome
	response *egress.Response // nil where no answer came
	sent     *http.Request
	known    []string // what was sent in confidence
}

// exchange puts a request on the wire, once, and says what the rules make of the answer.
func (d *destination) exchange(ctx context.Context, r *rendered) exchanged {
	sent, err := d.authorized(ctx, r)
	if err != nil {
		return exchanged{Outcome: unauthorized(ctx, err)}
	}
	// Traceparent, where the context is in a trace.
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(sent.Header))
	response, err := d.client.Do(ctx, sent)
	if response == nil {
		return exchanged{Outcome: outcome.Failure(err)}
	}
	x := exchanged{response: response, sent: sent, known: d.known(sent)}
	x.Outcome = outcome.Of(r.call.rules.Classify(outcome.Answer(response)), response, d.now(), x.known)
	if x.Kind == authExpired {
		d.expired(ctx, &x.Outcome, sent)
	}
	return x
}

// expired tells the authenticator, so that the next request carries another credential.
// Where there is none that could be another, it is no use to try again.
func (d *destination) expired(ctx context.Context, o *connectors.Outcome, sent *http.Request) {
	if !d.auth.Renews() {
		o.Kind = authRevoked
		return
	}
	d.auth.Rejected(ctx, sent)
}

var errNoRequest = errors.New("no HTTP request can be made of it")

// authorized makes the request of one attempt.
func (d *destination) authorized(ctx context.Context, r *rendered) (*http.Request, error) {
	var known map[string]any
	variables := func() (map[string]any, error) {
		if known != nil {
			return known, nil
		}
		came, err := d.auth.Variables(ctx)
		known = map[string]any{"settings": d.visible, "auth": came}
		return known, err
	}
	at, err := d.base.at(ctx, variables)
	if err != nil {
		return nil, err
	}
	sent, err := http.NewRequest(r.call.method, at+r.target, bytes.NewReader(r.body))
	if err != nil {
		return nil, errNoRequest // the error may quote the URL
	}
	sent.Header = r.header.Clone()
	for name, value := range r.call.headers.secret {
		sent.Header.Set(name, value.reveal())
	}
	for _, late := range r.call.headers.late {
		known, err := variables()
		if err != nil {
			return nil, err
		}
		text, _, err := late.text.Render(ctx, &mapping.Scope{Event: &mapping.Event{}, Variables: known})
		if err != nil || !isHeaderValue(text) {
			return nil, &auth.Error{Kind: authRevoked, Reason: "the authorisation did not bring what the header " + late.name + " wants"}
		}
		sent.Header.Set(late.name, text)
	}
	return sent, d.auth.Authorize(ctx, sent)
}

// unauthorized is what it means that a request can't be made: nothing was sent.
func unauthorized(ctx context.Context, err error) connectors.Outcome {
	var refused *auth.Error
	switch {
	case errors.As(err, &refused):
		return connectors.Outcome{Kind: refused.Kind, Rule: "authorisation", Reason: refused.Reason}
	case ctx.Err() != nil:
		return connectors.Outcome{Kind: transient, Rule: "cancelled before sending", Reason: "cancelled before anything was opened"}
	case errors.Is(err, errNoRequest):
		return outcome.NotValid(errNoRequest.Error())
	}
	return connectors.Outcome{Kind: authRevoked, Rule: "authorisation", Reason: err.Error()}
}

// minKnown is the length from which a text that is sent in confidence is taken out of what
// a platform quotes. Shorter ones are words, and are everywhere.
const minKnown = 8

// known are the texts that are not to be recorded where a platform quotes them: secrets,
// and what was made of them for this request.
func (d *destination) known(sent *http.Request) []string {
	all := append(d.secrets(), d.auth.Secrets()...)
	for _, name := range []string{"Authorization", "Cookie"} {
		if value := sent.Header.Get(name); value != "" {
			all = append(all, credentials(value)...)
		}
	}
	all = slices.DeleteFunc(all, func(text string) bool { return len(text) < minKnown })
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) }) // the whole before its parts
	return slices.Compact(all)
}

// credentials are a header's value, the credential in it, and what that is the base64 of.
func credentials(value string) []string {
	all := []string{value}
	if _, credential, two := strings.Cut(value, " "); two {
		all = append(all, credential)
		if plain, err := base64.StdEncoding.DecodeString(credential); err == nil {
			_, password, _ := strings.Cut(string(plain), ":")
			all = append(all, string(plain), password)
		}
	}
	return all
}
