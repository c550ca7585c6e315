package hooks

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Nonsense says why no event can be made of a webhook. It quotes nothing of the body.
type Nonsense struct {
	Code   string // for programs: part of the exception's cause
	Reason string
}

func (n *Nonsense) Error() string { return n.Reason }

func nonsense(code, format string, args ...any) error {
	return &Nonsense{Code: code, Reason: fmt.Sprintf(format, args...)}
}

const (
	// quarantineType is the type of what is quarantined. No event has it.
	quarantineType = "raffsync.quarantined"

	maxReason      = 500
	maxContentType = 200
	maxQuery       = 2000
	maxHeaderValue = 500
)

// quarantined is what is kept of a webhook of which no event can be made. Its id is that
// of the request, so that one that is sent again is kept once.
func (s *Source) quarantined(r *http.Request, body *raw, sum [sha256.Size]byte, why *Nonsense) *raffsyncv1.Event {
	q := &raffsyncv1.Quarantine{
		Code: why.Code, Reason: cut(why.Reason, maxReason), ContentType: cut(r.Header.Get("Content-Type"), maxContentType),
		Headers: make(map[string]string), Query: cut(r.URL.RawQuery, maxQuery), BodyBytes: uint64(body.total), BodySha256: sum[:],
	}
	for _, name := range append([]string{"content-encoding"}, s.kept...) {
		if value := strings.Join(r.Header.Values(name), ", "); value != "" {
			q.Headers[name] = cut(value, maxHeaderValue)
		}
	}
	id := sha256.New()
	fmt.Fprintf(id, "%x %q %q", sum, q.ContentType, q.Query)
	for _, name := range slices.Sorted(maps.Keys(q.Headers)) {
		fmt.Fprintf(id, " %q=%q", name, q.Headers[name])
	}
	name := hex.EncodeToString(id.Sum(nil))
	return &raffsyncv1.Event{
		Id: name, Type: quarantineType, OrderingKey: "quarantine/" + name, ContentType: "application/octet-stream",
		Data: &raffsyncv1.Event_BinaryData{BinaryData: body.data}, Quarantine: q,
	}
}

// cut shortens a text to so many bytes, and makes it fit for the contract.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
