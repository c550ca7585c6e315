package egress

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxExcerpt = 1 << 10
	// excerptWindow is how much of a body is looked at. It is larger than an
	// excerpt because redaction shortens.
	excerptWindow = 4 << 10
)

// Excerpt returns the beginning of an answer's body as evidence for people: valid
// UTF-8 of at most limit bytes, and at most 1 KiB (which limit ≤ 0 means too),
// without control and format characters, and with what looks like a secret
// replaced by "[redacted]". It would rather redact too much: long runs of letters
// and digits go, UUIDs stay. known are secrets that the caller has sent and
// that the platform may have quoted; they are replaced whatever they look like.
func Excerpt(body []byte, limit int, known ...string) string {
	if limit <= 0 || limit > maxExcerpt {
		limit = maxExcerpt
	}
	cut := len(body) > excerptWindow
	if cut {
		body = body[:excerptWindow]
	}
	text := plainText(string(body))
	if cut {
		// A secret cut in two may no longer look like one.
		text = text[:strings.LastIndexAny(text, " ,;&<>{}\"'")+1]
	}
	for _, secret := range known {
		if secret != "" {
			text = strings.ReplaceAll(text, plainText(secret), redacted)
		}
	}
	text = redact(text)
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// plainText keeps what a terminal and a browser show as it is: no control
// characters, no direction overrides, no invisible joints.
func plainText(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
}
