package webhook

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"raffsync/connectors"
	"raffsync/connectors/egress"
	"raffsync/connectors/rules"
)

const (
	// maxAnswer is how many bytes of an answer are read, and looked at by rules. An
	// excerpt of at most 1 KiB is kept.
	maxAnswer = rules.MaxBody
	// maxRetryAfter bounds what a receiver may ask for in one answer.
	maxRetryAfter = time.Hour
)

// Send implements [connectors.Destination].
func (d *destination) Send(ctx context.Context, prepared connectors.Request) connectors.Outcome {
	r, ok := prepared.(*request)
	if !ok {
		return foreign(prepared)
	}
	signed, err := d.sign(r, d.now())
	if err == nil {
		// Traceparent, where the context is in a trace.
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(signed.Header))
	}
	if err != nil {
		// The error may quote the URL.
		return connectors.Outcome{Kind: poison, Rule: "request not valid", Reason: "no HTTP request can be made of it"}
	}
	if err := d.auth.Authorize(ctx, signed); err != nil {
		return unauthorized(err)
	}
	response, err := d.client.Do(ctx, signed)
	if response == nil {
		v := classifyFailure(err)
		return connectors.Outcome{Kind: v.kind, Rule: v.rule, Reason: v.reason}
	}
	// Where only the body broke off there is an error too. Where no rule looks into the
	// body it changes nothing: the status was the receiver's word.
	return d.authenticated(ctx, signed, d.read(response))
}

func foreign(prepared connectors.Request) connectors.Outcome {
	return connectors.Outcome{
		Kind: poison, Rule: "request not valid",
		Reason: fmt.Sprintf("the request is a %T, which this destination did not prepare", prepared),
	}
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
	v := d.rules.Classify(rules.Answer{
		Status: response.Status, Header: response.Header, Body: response.Body, Cut: response.Truncated,
	})
	o := connectors.Outcome{
		Kind:       v.Kind,
		Rule:       v.Rule,
		Code:       d.scrub(v.Code),
		Field:      d.scrub(v.Field),
		Reason:     statusText(response.Status) + ": " + v.Reason,
		Status:     response.Status,
		ExternalID: d.scrub(v.Receipt),
	}
	if v.Kind == delivered {
		// No excerpt: the receipt says it, a million times a day.
		o.URL = d.scrub(receiptURL(d.url(), response.Header))
		return o
	}
	o.Reason += naming(o.Code, o.Field)
	o.Excerpt = egress.Excerpt(response.Body, 0, d.known()...)
	o.RetryAfter = d.wish(v, response.Header)
	return o
}

// wish is how long the receiver asks to be left alone: where its rule says that this
// stands, or in the header.
func (d *destination) wish(v rules.Verdict, h http.Header) time.Duration {
	found := http.Header{"Retry-After": {v.RetryAfter}}
	if wait, ok := egress.ParseRetryAfter(found, d.now(), maxRetryAfter); ok {
		return wait
	}
	wait, _ := egress.ParseRetryAfter(h, d.now(), maxRetryAfter)
	return wait
}

// naming is how a reason ends: " (unknown_sku at lines[0].sku)".
func naming(code, field string) string {
	switch {
	case code == "" && field == "":
		return ""
	case field == "":
		return " (" + code + ")"
	case code == "":
		return " (at " + field + ")"
	}
	return " (" + code + " at " + field + ")"
}

// scrub keeps what we sent in confidence from being recorded where a receiver
// quotes it.
func (d *destination) scrub(text string) string {
	for _, value := range d.known() {
		text = strings.ReplaceAll(text, value, redacted)
	}
	return text
}
