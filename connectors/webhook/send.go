package webhook

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"raffsync/connectors"
	"raffsync/connectors/egress"
	"raffsync/connectors/outcome"
	"raffsync/connectors/rules"
)

// maxAnswer is how many bytes of an answer are read, and looked at by rules. An excerpt of
// at most 1 KiB is kept.
const maxAnswer = rules.MaxBody

// Send implements [connectors.Destination].
func (d *destination) Send(ctx context.Context, prepared connectors.Request) connectors.Outcome {
	r, ok := prepared.(*request)
	if !ok {
		return outcome.Foreign(prepared)
	}
	signed, err := d.sign(r, d.now())
	if err == nil {
		// Traceparent, where the context is in a trace.
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(signed.Header))
	}
	if err != nil {
		// The error may quote the URL.
		return outcome.NotValid("no HTTP request can be made of it")
	}
	if err := d.auth.Authorize(ctx, signed); err != nil {
		return unauthorized(err)
	}
	response, err := d.client.Do(ctx, signed)
	if response == nil {
		return outcome.Failure(err)
	}
	// Where only the body broke off there is an error too. Where no rule looks into the
	// body it changes nothing: the status was the receiver's word.
	return d.authenticated(ctx, signed, d.read(response))
}

// sign makes the request of one attempt: what Prepare made, with the time and a
// signature.
func (d *destination) sign(r *request, at time.Time) (*http.Request, error) {
	signed, err := http.NewRequest(http.MethodPost, d.host, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	signed.URL = d.url()
	signed.Header = maps.Clone(r.header)
	d.authenticate(signed.Header, r.id, r.body, at)
	return signed, nil
}

// authenticate adds the configured headers, the time and a signature by each secret
// (Standard Webhooks 1.0, "Webhook headers").
func (d *destination) authenticate(header http.Header, id string, body []byte, at time.Time) {
	for name, value := range d.headers {
		header[name] = []string{value.reveal()}
	}
	signatures := make([]string, len(d.signers))
	for i, sign := range d.signers {
		signatures[i] = sign(id, at, body)
	}
	header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	header.Set("Webhook-Signature", strings.Join(signatures, " "))
}

// read makes of an answer what is recorded of it.
func (d *destination) read(response *egress.Response) connectors.Outcome {
	o := outcome.Of(d.rules.Classify(outcome.Answer(response)), response, d.now(), d.known())
	if o.Kind == delivered {
		o.URL = outcome.Scrub(outcome.ReceiptURL(d.url(), response.Header), d.known())
	}
	return o
}
