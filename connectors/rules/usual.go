package rules

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// usual looks for code and field in the first of: error, errors, detail, the document
// itself. That covers
//
//	{"error": {"code": "unknown_sku", "field": "lines[0].sku", "message": "…"}}
//	{"code": "unknown_sku", "field": "sku"}         and {"error": "unknown_sku"}
//	{"errors": [{"code": "…", "source": {"pointer": "/data/sku"}}]}    JSON:API
//	{"type": "https://example.com/errors/unknown-sku", "title": "…"}   RFC 9457
//	{"detail": [{"type": "missing", "loc": ["body", "sku"]}]}          FastAPI
//	{"errors": {"sku": ["is unknown"]}}                                Rails
//
// Messages are for people and often quote the data: they stay in the excerpt.
func (in *inspected) usual() (code, field string) {
	document := in.document()
	top, _ := document.(map[string]any)
	for _, place := range []any{top["error"], top["errors"], top["detail"], document} {
		if code, field = readError(in.Status, place); code != "" || field != "" {
			break
		}
	}
	return code, field
}

// usualUnless takes what a rule says of code and field first.
func (in *inspected) usualUnless(code, field place) (string, string) {
	none := place{}
	if code != none && field != none {
		return capped(code.find(in)), capped(field.find(in))
	}
	c, f := in.usual()
	if code != none {
		c = capped(code.find(in))
	}
	if field != none {
		f = capped(field.find(in))
	}
	return c, f
}

// receipt is what a rule says of it, or the id at the top.
func (in *inspected) receipt(from place) string {
	var id string
	if from != (place{}) {
		id = from.find(in)
	} else if top, ok := in.document().(map[string]any); ok {
		id = Text(top["id"])
	}
	if len(id) > maxReceipt {
		return ""
	}
	return id
}

func readError(status int, place any) (code, field string) {
	switch place := place.(type) {
	case string:
		// A word is a code, a sentence is a message.
		if !strings.ContainsFunc(place, unicode.IsSpace) {
			code = usable(status, line(place))
		}
	case []any:
		if len(place) > 0 {
			return readError(status, place[0])
		}
	case map[string]any:
		for _, key := range []string{"code", "error_code", "errorCode", "type", "title"} {
			if code = usable(status, problemType(Text(place[key]))); code != "" {
				break
			}
		}
		for _, key := range []string{"field", "param", "parameter", "pointer", "path", "property", "loc"} {
			field = capped(Text(place[key]))
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

// Text is a word, a number or a path of them as one line.
func Text(value any) string {
	switch value := value.(type) {
	case string:
		return line(value)
	case json.Number:
		return value.String()
	case []any:
		var parts []string
		for _, part := range value {
			parts = append(parts, Text(part))
		}
		return strings.Join(parts, ".")
	}
	return ""
}

// line is a text without what a terminal would act upon.
func line(text string) string { return strings.TrimSpace(strings.Map(printable, text)) }

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
