package config

import (
	"net/url"
	"strings"
)

// visible is as much as may be shown of a value that could be a secret: references,
// durations, short numbers, true and false as they are, of an address scheme and host
// (paths and queries of webhooks hold tokens), of anything else nothing.
func visible(text string) string {
	const hidden = "…"
	if text == "" || text == "true" || text == "false" || isShortNumber(text) {
		return text
	}
	if _, err := ParseSecretRef(text); err == nil {
		return text
	}
	if _, err := parseDuration(text); err == nil {
		return text
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return hidden
	}
	switch scheme {
	case "http", "https", "postgres", "postgresql":
	default:
		return hidden
	}
	u, err := url.Parse(text)
	if err != nil {
		return hidden
	}
	if u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == "" && u.Host == rest {
		return text
	}
	return scheme + "://" + u.Host + "/" + hidden
}

func isShortNumber(text string) bool {
	if len(text) > 6 {
		return false
	}
	return strings.Trim(text, "0123456789.-") == ""
}
