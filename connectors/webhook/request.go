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
	fields []field // headers that do not depend on the attempt
	body   []byte
	event  string // the event's id, to ask by
}

// field is a header, by its canonical name. Its value is an array that the headers of all
// attempts share.
type field struct {
	name  string
	value [1]string
}

func (m *message) add(name, value string) {
	m.fields = append(m.fields, field{name, [1]string{value}})
}

// header is a new one with the fields, and room for more.
func (m *message) header(more int) http.Header {
	header := make(http.Header, len(m.fields)+more)
	for i := range m.fields {
		header[m.fields[i].name] = m.fields[i].value[:]
	}
	return header
}

func (r *request) String() string {
	return fmt.Sprintf("webhook %s, %d bytes", r.id, len(r.body))
}

func (r *request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// Content implements [connectors.Content]: an event of other content is another one.
func (r *request) Content() []byte { return r.body }

func (r *request) LogValue() slog.Value { return slog.StringValue(r.String()) }

const (
	defaultContentType = "application/json"
	// mostFields are what Prepare gives a message, at most.
	mostFields = 12
)

// Prepare implements [connectors.Destination].
func (d *destination) Prepare(step connectors.Step) (connectors.Request, error) {
	event := step.Event
	if !isToken(step.Key) {
		return nil, unpreparable("key", "", "the idempotency key is missing or not fit for a header")
	}
	if !isHeaderValue(event.ContentType) {
		return nil, unpreparable("content_type", "content_type", "the content type is not fit for a header: it holds control characters")
	}

	m := &message{fields: make([]field, 0, mostFields), body: event.Data, event: event.ID}
	m.add("User-Agent", userAgent)
	m.add("Webhook-Id", step.Key)
	m.add("Idempotency-Key", step.Key)
	switch {
	case event.ContentType != "":
		m.add("Content-Type", event.ContentType)
	case len(event.Data) > 0:
		m.add("Content-Type", defaultContentType)
	}
	m.addCloudEvent(event)
	return &request{step.Key, m}, nil
}

func unpreparable(code, field, message string) error {
	return &connectors.PrepareError{
		Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION,
		Code: code, Field: field, Message: message,
	}
}

// addCloudEvent adds the attributes of the event as headers: the binary content
// mode of the CloudEvents 1.0 HTTP protocol binding. recordedtime is a documented
// extension of CloudEvents, outlet is our own.
func (m *message) addCloudEvent(event *connectors.Event) {
	add := func(name, value string) {
		if value != "" {
			m.add(name, encodeAttribute(value))
		}
	}
	occurred := event.OccurredAt
	if occurred.IsZero() {
		occurred = event.AcceptedAt
	}
	add("Ce-Specversion", "1.0")
	add("Ce-Id", event.ID)
	add("Ce-Type", event.Type)
	add("Ce-Source", "/"+url.PathEscape(event.Tenant)+"/"+url.PathEscape(event.Source))
	add("Ce-Subject", event.OrderingKey)
	add("Ce-Time", timestamp(occurred))
	add("Ce-Recordedtime", timestamp(event.AcceptedAt))
	add("Ce-Outlet", event.Outlet)
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
	at := 0
	for at < len(value) && plain(value[at]) {
		at++
	}
	if at == len(value) {
		return value
	}
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
