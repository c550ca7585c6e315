package egress

import (
	"regexp"
	"slices"
	"strings"
)

const (
	redacted = "[redacted]"
	// nameWithin is how far before a separator its name is looked for, so that
	// a text of separators costs no more than any other.
	nameWithin = 128
)

// shapes are secrets that show by themselves. A pattern runs only on texts that
// hold one of its signs, in lower case: patterns are a hundred times slower than
// the search for the signs, and most answers hold none.
var shapes = []struct {
	signs       []string
	pattern     *regexp.Regexp
	replacement string
}{
	{
		[]string{"private key-----"},
		regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), redacted,
	},
	{
		[]string{"bearer ", "basic "},
		regexp.MustCompile(`(?i)\b(bearer|basic) +[\w.~+/=-]{6,}`), "$1 " + redacted,
	},
	{
		[]string{"://"},
		regexp.MustCompile(`://[^\s/@"'<>]+@`), "://" + redacted + "@",
	},
	{ // JSON Web Tokens: the base64 of `{"`
		[]string{"eyj"},
		regexp.MustCompile(`eyJ[\w-]{6,}(?:\.[\w-]*){0,4}`), redacted,
	},
	{ // Stripe, Shopify, Standard Webhooks, GitHub, GitLab, Slack, AWS, Google, Square
		[]string{"_live_", "_test_", "shpat_", "shpca_", "shppa_", "shpss_", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "akia", "asia", "aiza", "eaaa", "sq0"},
		regexp.MustCompile(`\b(?:[spr]k_(?:live|test)_|shp(?:at|ca|pa|ss)_|whsec_|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|AKIA|ASIA|AIza|EAAA|sq0[a-z]{3}-)[\w+/=-]{6,}`), redacted,
	},
}

// secretNames are parts of names whose values are taken for secrets, in lower
// case and without separators: "session" is what Accurate Online calls its key.
var secretNames = []string{
	"token", "secret", "password", "passwd", "passphrase", "pwd", "katasandi",
	"apikey", "accesskey", "privatekey", "authorization", "authorisation",
	"credential", "signature", "session", "cookie", "jwt",
}

// redact replaces what looks like a secret in text.
func redact(text string) string {
	lower := strings.ToLower(text)
	for _, shape := range shapes {
		if slices.ContainsFunc(shape.signs, func(sign string) bool { return strings.Contains(lower, sign) }) {
			text = shape.pattern.ReplaceAllString(text, shape.replacement)
		}
	}
	return redactRuns(redactNamed(text))
}

// redactNamed replaces values that follow a secret's name and a colon or an equals
// sign, as in JSON (also within a string of JSON), forms, headers, YAML and PHP,
// and the text of XML elements so named.
func redactNamed(text string) string {
	var out strings.Builder
	done := 0
	for at := 0; ; {
		i := strings.IndexAny(text[at:], ":=>")
		if i < 0 {
			break
		}
		i += at
		at = i + 1
		start, end := at, at
		left := text[max(done, i-nameWithin):i]
		if text[i] == '>' {
			if isSecretName(tagName(left)) {
				end = before(text, start, "<")
			}
		} else if isSecretName(nameAtEnd(left)) {
			start, end = valueAt(text, start)
		}
		if start < end {
			out.WriteString(text[done:start])
			out.WriteString(redacted)
			done, at = end, end
		}
	}
	out.WriteString(text[done:])
	return out.String()
}

// nameAtEnd returns the name that text ends with, without its quotes.
func nameAtEnd(text string) string {
	text = strings.TrimRight(strings.TrimRight(text, " "), `"'\`)
	return text[strings.LastIndexFunc(text, func(r rune) bool { return !inName(r) })+1:]
}

// tagName returns the name of the XML element that text has opened and not closed.
func tagName(text string) string {
	tag := text[strings.LastIndexByte(text, '<')+1:]
	if len(tag) == len(text) {
		return ""
	}
	name, _, _ := strings.Cut(tag, " ")
	if strings.HasPrefix(name, "/") {
		return "" // an end tag: what follows is no value
	}
	return name
}

func isSecretName(name string) bool {
	if len(name) < 3 {
		return false
	}
	name = strings.ToLower(strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-.:", r) {
			return -1
		}
		return r
	}, name))
	return slices.ContainsFunc(secretNames, func(part string) bool { return strings.Contains(name, part) })
}

// valueAt returns where the value that begins at or after start stands in text.
func valueAt(text string, start int) (from, to int) {
	for start < len(text) && strings.IndexByte(" =>:", text[start]) >= 0 {
		start++
	}
	rest := text[start:]
	switch {
	case rest == "":
		return start, start
	case rest[0] == '"' || rest[0] == '\'':
		end := start + 1
		for end < len(text) && text[end] != rest[0] {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		return start + 1, min(end, len(text))
	case rest[0] == '[':
		return start, min(before(text, start, "]")+1, len(text))
	case strings.HasPrefix(strings.TrimLeft(rest, `\`), `"`):
		start += strings.IndexByte(rest, '"') + 1
		return start, before(text, start, `"\`)
	}
	for _, scheme := range []string{"bearer ", "basic "} {
		if len(rest) > len(scheme) && strings.EqualFold(rest[:len(scheme)], scheme) {
			start += len(scheme)
		}
	}
	return start, before(text, start, ` "'<>&,;{}[]\`)
}

// redactRuns replaces long runs of letters and digits, which is what keys and
// signatures look like when nothing names them. A run without a digit is taken
// for words or a path.
func redactRuns(text string) string {
	const shortest = 32
	var out strings.Builder
	done := 0
	for at := 0; at < len(text); {
		end := at
		digit := false
		for ; end < len(text) && inRun(text[end]); end++ {
			digit = digit || isDigit(text[end])
		}
		if end-at >= shortest && digit && !isUUID(text[at:end]) {
			for end < len(text) && text[end] == '=' {
				end++
			}
			out.WriteString(text[done:at])
			out.WriteString(redacted)
			done = end
		}
		at = end + 1
	}
	out.WriteString(text[done:])
	return out.String()
}

// isUUID reports whether run is 8-4-4-4-12 hexadecimal digits.
func isUUID(run string) bool {
	if len(run) != 36 {
		return false
	}
	for i := range len(run) {
		c := run[i] | 0x20
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if run[i] != '-' {
				return false
			}
		case !isDigit(run[i]) && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

// before returns the index in text of the first of stops at or after start, or
// the end of text.
func before(text string, start int, stops string) int {
	if i := strings.IndexAny(text[start:], stops); i >= 0 {
		return start + i
	}
	return len(text)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlphanumeric(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' }

func inRun(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("_+/-", c) >= 0 }

func inName(r rune) bool {
	return r < 0x80 && (isAlphanumeric(byte(r)) || strings.ContainsRune("_.-", r))
}
