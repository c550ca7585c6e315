package outcome

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/egress"
	"raffsync/connectors/rules"
)

const (
	// maxRetryAfter bounds what a platform may ask for in one answer.
	maxRetryAfter = time.Hour
	// Redacted stands for what is not to be seen.
	Redacted = "[redacted]"
)

// Answer is an answer as rules look at it.
func Answer(r *egress.Response) rules.Answer {
	return rules.Answer{Status: r.Status, Header: r.Header, Body: r.Body, Cut: r.Truncated}
}

// Of is what is recorded of an answer that came to a verdict, at a time. Successes keep no
// excerpt: the receipt says it, a million times a day. known are texts that were sent in
// confidence.
func Of(v rules.Verdict, r *egress.Response, now time.Time, known []string) connectors.Outcome {
	o := connectors.Outcome{
		Kind:       v.Kind,
		Rule:       v.Rule,
		Code:       Scrub(v.Code, known),
		Field:      Scrub(v.Field, known),
		Reason:     StatusText(r.Status) + ": " + v.Reason,
		Status:     r.Status,
		ExternalID: Scrub(v.Receipt, known),
	}
	if v.Kind == delivered {
		return o
	}
	o.Reason += naming(o.Code, o.Field)
	o.Excerpt = egress.Excerpt(r.Body, 0, known...)
	o.RetryAfter = wish(v, r.Header, now)
	return o
}

// wish is how long the platform asks to be left alone: where its rule says that this
// stands, or in the header.
func wish(v rules.Verdict, h http.Header, now time.Time) time.Duration {
	found := http.Header{"Retry-After": {v.RetryAfter}}
	if wait, ok := egress.ParseRetryAfter(found, now, maxRetryAfter); ok {
		return wait
	}
	wait, _ := egress.ParseRetryAfter(h, now, maxRetryAfter)
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

// StatusText is "422 Unprocessable Entity", or the number where it has no name.
func StatusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}

// Scrub keeps what was sent in confidence from being recorded where a platform quotes it.
func Scrub(text string, known []string) string {
	for _, value := range known {
		if value != "" {
			text = strings.ReplaceAll(text, value, Redacted)
		}
	}
	return text
}
