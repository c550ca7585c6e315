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

	"raffsync/connectors"
	"raffsync/connectors/egress"
)

const (
	// maxAnswer is how many bytes of an answer are searched for code, field and
	// receipt. An excerpt of at most 1 KiB is kept.
	maxAnswer = 16 << 10
	// maxRetryAfter bounds what a receiver may ask for in one answer.
	maxRetryAfter = time.Hour
)

// Send implements [connectors.Destination].
func (d *destination) Send(ctx context.Context, prepared connectors.Request) connectors.Outcome {
	r, ok := prepared.(*request)
	if !ok {
		return connectors.Outcome{
			Kind: poison, Rule: "request not valid",
			Reason: fmt.Sprintf("the request is a %T, which this destination did not prepare", prepared),
		}
	}
	signed, err := d.sign(r, d.now())
	if err != nil {
		// The error may quote the URL.
		return connectors.Outcome{Kind: poison, Rule: "request not valid", Reason: "no HTTP request can be made of it"}
	}
	response, err := d.client.Do(ctx, signed)
	if response == nil {
		v := classifyFailure(err)
		return connectors.Outcome{Kind: v.kind, Rule: v.rule, Reason: v.reason}
	}
	// Where only the body broke off there is an error too. It changes nothing: the
	// status was the receiver's word.
	return d.read(response)
}

// sign makes the request of one attempt: what Prepare made, with the time and a
// signature by each secret (Standard Webhooks 1.0, "Webhook headers").
func (d *destination) sign(r *request, at time.Time) (*http.Request, error) {
	signed, err := http.NewRequest(http.MethodPost, d.host, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	signed.URL = d.url()
	signed.Header = maps.Clone(r.header)
	for name, value := range d.headers {
		signed.Header[name] = []string{value.reveal()}
	}
	signatures := make([]string, len(d.signers))
	for i, sign := range d.signers {
		signatures[i] = sign(r.id, at, r.body)
	}
	signed.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	signed.Header.Set("Webhook-Signature", strings.Join(signatures, " "))
	return signed, nil
}

// read makes of an answer what is recorded of it.
func (d *destination) read(response *egress.Response) connectors.Outcome {
	said := readAnswer(response.Status, response.Body)
	code, field := d.scrub(said.code), d.scrub(said.field)
	v := classifyAnswer(answer{status: response.Status, code: code, idempotent: d.traits.Idempotent})
	o := connectors.Outcome{
		Kind:   v.kind,
		Rule:   v.rule,
		Reason: statusText(response.Status) + ": " + v.reason,
		Status: response.Status,
	}
	if v.kind == delivered {
		// No excerpt: the receipt says it, a million times a day.
		o.ExternalID, o.URL = d.scrub(said.id), d.scrub(receiptURL(d.url(), response.Header))
		return o
	}
	o.Code, o.Field = code, field
	o.Reason += naming(code, field)
	o.Excerpt = egress.Excerpt(response.Body, 0, d.known()...)
	o.RetryAfter, _ = egress.ParseRetryAfter(response.Header, d.now(), maxRetryAfter)
	return o
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
