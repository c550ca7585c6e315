package webhook

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
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
	signed := d.sign(r, d.now())
	// Traceparent, where the context is in a trace.
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(signed.Header))
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
func (d *destination) sign(r *request, at time.Time) *http.Request {
	signed := &http.Request{
		Method: http.MethodPost, URL: d.url(), Host: d.authority, Header: r.header(len(d.headers) + attemptFields),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: http.NoBody,
	}
	if len(r.body) > 0 {
		signed.Body, signed.ContentLength = io.NopCloser(bytes.NewReader(r.body)), int64(len(r.body))
	}
	d.authenticate(signed.Header, r.id, r.body, at)
	return signed
}

// attemptFields are what each attempt adds to the headers of a message: time and
// signature.
const attemptFields = 2

// authenticate adds the configured headers, the time and a signature by each secret
// (Standard Webhooks 1.0, "Webhook headers").
func (d *destination) authenticate(header http.Header, id string, body []byte, at time.Time) {
	for name, value := range d.headers {
		header[name] = []string{value.reveal()}
	}
	seconds := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]byte, 0, 64)
	for i, sign := range d.signers {
		if i > 0 {
			signatures = append(signatures, ' ')
		}
		signatures = sign(signatures, id, seconds, body)
	}
	values := []string{seconds, string(signatures)}
	header["Webhook-Timestamp"], header["Webhook-Signature"] = values[:1:1], values[1:]
}

// read makes of an answer what is recorded of it.
func (d *destination) read(response *egress.Response) connectors.Outcome {
	o := outcome.Of(d.rules.Classify(outcome.Answer(response)), response, d.now(), d.known())
	if o.Kind == delivered {
		o.URL = outcome.Scrub(outcome.ReceiptURL(d.url(), response.Header), d.known())
	}
	return o
}
