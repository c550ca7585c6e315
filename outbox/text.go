package outbox

import (
	"strings"
	"time"
	"unicode/utf8"
)

// longestText is the most bytes that are kept of a text that comes from a platform.
const longestText = 1024

// storable makes a text of foreign origin fit for Postgres: valid UTF-8, no NUL, and
// not long enough to matter.
func storable(s string) string { return truncated(s, longestText) }

// brief is a duration without zeros at its end: "15m", not "15m0s".
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func truncated(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
