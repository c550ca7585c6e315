package webhook

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	// maxCode bounds code and field, in characters: exceptions group by them.
	maxCode = 80
	// maxReceipt bounds a receipt's id and URL, in bytes. Longer ones are left out:
	// a part of one would be of another thing.
	maxReceipt = 500
)

// said is what a receiver's JSON says in the places where such answers usually say
// it. What is not there is empty.
type said struct{ id, code, field string }

// readAnswer looks for a receipt's id at the top, and for code and field in the
// first of: error, errors, detail, the document itself. That covers
//
//	{"error": {"code": "unknown_sku", "field": "lines[0].sku", "message": "…"}}
//	{"code": "unknown_sku", "field": "sku"}         and {"error": "unknown_sku"}
//	{"errors": [{"code": "…", "source": {"pointer": "/data/sku"}}]}    JSON:API
//	{"type": "https://example.com/errors/unknown-sku", "title": "…"}   RFC 9457
//	{"detail": [{"type": "missing", "loc": ["body", "sku"]}]}          FastAPI
//	{"errors": {"sku": ["is unknown"]}}                                Rails
//
// Messages are for people and often quote the data: they stay in the excerpt.
func readAnswer(status int, body []byte) said {
	if len(body) == 0 {
		return said{}
	}
	var document any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&document) != nil {
		return said{}
	}
	top, _ := document.(map[string]any)
	s := said{id: text(top["id"])}
	if len(s.id) > maxReceipt {
		s.id = ""
	}
	for _, place := range []any{top["error"], top["errors"], top["detail"], document} {
		if s.code, s.field = readError(status, place); s.code != "" || s.field != "" {
			break
		}
	}
	return s
}

func readError(status int, place any) (code, field string) {
	switch place := place.(type) {
	case string:
		// A word is a code, a sentence is a message.
		if !strings.ContainsFunc(place, unicode.IsSpace) {
			code = usable(status, place)
		}
	case []any:
		if len(place) > 0 {
			return readError(status, place[0])
		}
	case map[string]any:
		for _, key := range []string{"code", "error_code", "errorCode", "type", "title"} {
			if code = usable(status, problemType(text(place[key]))); code != "" {
				break
			}
		}
		for _, key := range []string{"field", "param", "parameter", "pointer", "path", "property", "loc"} {
			field = capped(text(place[key]))
			if key == "path" && strings.HasPrefix(field, "/") {
				field = "" // of the URL, as in Spring's answers
			}
			if field != "" {
				break
			}
		}
		if source, ok := place["source"].(map[string]any); ok && field == "" {
			_, field = readError(status, source)
		}
		if code == "" && field == "" {
			field = fieldOfLists(place)
		}
	}
	return code, field
}

// usable leaves out what only repeats the status.
func usable(status int, code string) string {
	if code == strconv.Itoa(status) || strings.EqualFold(code, http.StatusText(status)) {
		return ""
	}
	return capped(code)
}

// problemType is the name in the URI that is the type of an RFC 9457 problem.
func problemType(code string) string {
	u, err := url.Parse(code)
	switch {
	case code == "about:blank":
		return ""
	case err != nil || u.Host == "":
		return code
	}
	path := strings.TrimRight(u.Path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

// fieldOfLists is the first field of {"sku": ["is unknown"]}.
func fieldOfLists(place map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(place)) {
		if messages, ok := place[name].([]any); ok && len(messages) > 0 {
			if _, ok := messages[0].(string); ok {
				return capped(name)
			}
		}
	}
	return ""
}

// text is a word, a number or a path of them as one line.
func text(value any) string {
	switch value := value.(type) {
	case string:
		return strings.TrimSpace(strings.Map(printable, value))
	case json.Number:
		return value.String()
	case []any:
		var parts []string
		for _, part := range value {
			parts = append(parts, text(part))
		}
		return strings.Join(parts, ".")
	}
	return ""
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}

func capped(text string) string {
	if characters := []rune(text); len(characters) > maxCode {
		return string(characters[:maxCode-1]) + "…"
	}
	return text
}

// receiptURL is where the receiver says the thing that it made can be seen: the
// Location of its answer, if that can be followed from a browser.
func receiptURL(base *url.URL, h http.Header) string {
	location, err := base.Parse(h.Get("Location"))
	switch {
	case err != nil || h.Get("Location") == "" || location.Host == "" || location.User != nil,
		location.Scheme != "https" && location.Scheme != "http":
		return ""
	}
	if address := location.String(); len(address) <= maxReceipt {
		return address
	}
	return ""
}
