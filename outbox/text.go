package outbox

import (
	"strings"
	"unicode/utf8"
)

// longestText is the most bytes that are kept of a text that comes from a platform.
const longestText = 1024

// storable makes a text of foreign origin fit for Postgres: valid UTF-8, no NUL, and
// not long enough to matter.
func storable(s string) string { return truncated(s, longestText) }

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
