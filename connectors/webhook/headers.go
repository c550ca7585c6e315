package webhook

import (
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"
)

const (
	maxHeaders     = 32
	maxHeaderBytes = 4 << 10
	// minKnown is the length from which a text that we send is taken out of what a
	// receiver quotes. Shorter ones are words like "prod", and are everywhere.
	minKnown = 8
)

// ownHeaders are set by Prepare, Send or the HTTP client, or are of the connection
// and not of the message (RFC 9110, section 7.6.1).
var ownHeaders = map[string]string{
	"Content-Type":     "it is the event's content type",
	"Content-Length":   "it is the length of the event's data",
	"Content-Encoding": "data is sent as it came in",
	"Host":             "it comes from url",
	"User-Agent":       "it names this program",
	"Idempotency-Key":  "it is made for each step",
	"Accept-Encoding":  "answers are read uncompressed",
	"Expect":           "requests are sent in one piece",

	"Connection":          ofConnection,
	"Keep-Alive":          ofConnection,
	"Proxy-Connection":    ofConnection,
	"Proxy-Authenticate":  ofConnection,
	"Proxy-Authorization": ofConnection,
	"Te":                  ofConnection,
	"Trailer":             ofConnection,
	"Transfer-Encoding":   ofConnection,
	"Upgrade":             ofConnection,
}

const ofConnection = "it is of the connection, not of the message"

func (s *settings) readHeaders(headers map[string]string, resolve func(string) (string, error)) error {
	if len(headers) > maxHeaders {
		return fmt.Errorf("headers: %d of them; at most %d", len(headers), maxHeaders)
	}
	s.headers = make(map[string]secret, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if err := checkHeaderName(name, canonical); err != nil {
			return err
		}
		if _, twice := s.headers[canonical]; twice {
			return fmt.Errorf("headers: %q stands there twice", canonical)
		}
		value := headers[name]
		if isReference(value) {
			var err error
			if value, err = resolve(value); err != nil {
				return fmt.Errorf("headers: %s: %w", canonical, err)
			}
			value = strings.TrimRight(value, "\r\n") // files end in one
		}
		if len(value) > maxHeaderBytes || !isHeaderValue(value) {
			return fmt.Errorf("headers: %s: must be at most %d bytes, without control characters", canonical, maxHeaderBytes)
		}
		s.headers[canonical] = newSecret(value)
		s.know(value, isReference(headers[name]))
	}
	return nil
}

func checkHeaderName(name, canonical string) error {
	if !isToken(name) {
		return fmt.Errorf("headers: %q is not the name of a header", name)
	}
	if why, own := ownHeaders[canonical]; own {
		return fmt.Errorf("headers: %s can't be set: %s", canonical, why)
	}
	if strings.HasPrefix(canonical, "Webhook-") || strings.HasPrefix(canonical, "Ce-") {
		return fmt.Errorf("headers: %s can't be set: names with %s are set for each event", canonical, canonical[:strings.Index(canonical, "-")+1])
	}
	return nil
}

// know keeps a header's value, and the credential in it, out of what is recorded.
func (s *settings) know(value string, referenced bool) {
	scheme, credential, two := strings.Cut(value, " ")
	if two && (strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Basic")) {
		value = credential
	}
	if referenced && value != "" || len(value) >= minKnown {
		s.known = append(s.known, value)
	}
}
