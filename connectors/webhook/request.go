package webhook

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// request is one prepared delivery. It is never changed. Printed, it shows neither
// payload nor headers; they are behind a pointer because fmt, given a verb that it
// does not know for an unexported field, prints what that points to.
type request struct {
	id string // webhook-id
	*message
}

// message shares the event's data.
type message struct {
	header http.Header // what does not depend on the attempt
	body   []byte
	event  string // the event's id, to ask by
}

func (r *request) String() string {
	return fmt.Sprintf("webhook %s, %d bytes", r.id, len(r.body))
}

func (r *request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// Content implements [connectors.Content]: an event of other content is another one.
func (r *request) Content() []byte { return r.body }

func (r *request) LogValue() slog.Value { return slog.StringValue(r.String()) }

const defaultContentType = "application/json"

// Prepare implements [connectors.Destination].
func (d *destination) Prepare(step connectors.Step) (connectors.Request, error) {
	event := step.Event
	if !isToken(step.Key) {
		return nil, unpreparable("key", "", "the idempotency key is missing or not fit for a header")
	}
	if !isHeaderValue(event.ContentType) {
		return nil, unpreparable("content_type", "content_type", "the content type is not fit for a header: it holds control characters")
	}

	header := make(http.Header, 16+len(d.headers))
	header.Set("User-Agent", userAgent)
	header.Set("Webhook-Id", step.Key)
	header.Set("Idempotency-Key", step.Key)
	switch {
	case event.ContentType != "":
		header.Set("Content-Type", event.ContentType)
	case len(event.Data) > 0:
		header.Set("Content-Type", defaultContentType)
	}
	setCloudEvent(header, event)
	return &request{step.Key, &message{header, event.Data, event.ID}}, nil
}

func unpreparable(code, field, message string) error {
	return &connectors.PrepareError{
		Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION,
		Code: code, Field: field, Message: message,
	}
}

// setCloudEvent adds the attributes of the event as headers: the binary content
// mode of the CloudEvents 1.0 HTTP protocol binding. recordedtime is a documented
// extension of CloudEvents, outlet is our own.
func setCloudEvent(header http.Header, event *connectors.Event) {
	set := func(name, value string) {
		if value != "" {
			header.Set(name, encodeAttribute(value))
		}
	}
	occurred := event.OccurredAt
	if occurred.IsZero() {
		occurred = event.AcceptedAt
	}
	set("Ce-Specversion", "1.0")
	set("Ce-Id", event.ID)
	set("Ce-Type", event.Type)
	set("Ce-Source", "/"+url.PathEscape(event.Tenant)+"/"+url.PathEscape(event.Source))
	set("Ce-Subject", event.OrderingKey)
	set("Ce-Time", timestamp(occurred))
	set("Ce-Recordedtime", timestamp(event.AcceptedAt))
	set("Ce-Outlet", event.Outlet)
}

func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// encodeAttribute percent-encodes an attribute's value for a header (CloudEvents
// HTTP protocol binding 1.0.2, section 3.1.3.2): space, double quote, percent and
// whatever is not printable ASCII.
func encodeAttribute(value string) string {
	const hex = "0123456789ABCDEF"
	plain := func(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }
	var encoded strings.Builder
	for i := range len(value) {
		if c := value[i]; plain(c) {
			encoded.WriteByte(c)
		} else {
			encoded.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return encoded.String()
}

// isHeaderValue follows RFC 9110, section 5.5, without the obsolete bytes above
// ASCII, which receivers read in different ways.
func isHeaderValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// isToken follows RFC 9110, section 5.6.2.
func isToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && !digit && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return text != ""
}
