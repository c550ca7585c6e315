package hooks

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
)

// structured is the media type of CloudEvents 1.0 in structured mode; batches are another
// one, and not taken.
const structured = "application/cloudevents+json"

// open makes of a CloudEvent in structured mode what it would be in binary mode: its
// attributes as headers, its data as the body. In binary mode it undoes the encoding of
// header values (CloudEvents HTTP binding, 3.1.3.2).
func (m *message) open(contentType string) error {
	media, _, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.TrimSpace(media), structured) {
		if m.headers["ce-id"] == "" || m.headers["ce-type"] == "" || m.headers["ce-source"] == "" {
			return nonsense("CLOUDEVENT", "it is no CloudEvent: ce-id, ce-source and ce-type must be there, or the content type be %s", structured)
		}
		for name, value := range m.headers {
			if decoded, err := url.PathUnescape(value); err == nil && strings.HasPrefix(name, "ce-") {
				m.headers[name] = decoded
			}
		}
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(m.body, &fields) != nil {
		return nonsense("CLOUDEVENT", "the CloudEvent is no object")
	}
	for name := range m.headers {
		if strings.HasPrefix(name, "ce-") {
			delete(m.headers, name) // what stands in the envelope counts
		}
	}
	for name, value := range fields {
		var text string
		switch {
		case name == "data" || name == "data_base64":
		case json.Unmarshal(value, &text) == nil:
			m.headers["ce-"+name] = text
		default: // a number, true or false: an extension
			m.headers["ce-"+name] = string(value)
		}
	}
	if m.headers["ce-id"] == "" || m.headers["ce-type"] == "" || m.headers["ce-source"] == "" {
		return nonsense("CLOUDEVENT", "the CloudEvent lacks id, source or type")
	}
	m.body = fields["data"]
	if encoded := fields["data_base64"]; encoded != nil {
		var text string
		decoded, err := []byte(nil), json.Unmarshal(encoded, &text)
		if err == nil {
			decoded, err = base64.StdEncoding.DecodeString(text)
		}
		if err != nil {
			return nonsense("CLOUDEVENT", "data_base64 is no base64")
		}
		m.body = decoded
	}
	return nil
}
