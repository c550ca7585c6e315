package hooks

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Recorded is a webhook as it was sent once.
type Recorded struct {
	Header http.Header
	Body   []byte
}

// perRequest are headers that belong to one request and not to what it says.
var perRequest = []string{"Host", "Content-Length", "Connection", "Accept-Encoding", "Transfer-Encoding", "Content-Encoding"}

// ReadRecorded reads a file that holds a webhook with its headers,
// {"headers": {…}, "body": {…}}: the form in which public collections have them. It is
// false for any other. The body is taken as it stands there.
func ReadRecorded(content []byte) (Recorded, bool) {
	var file struct {
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
	}
	if json.Unmarshal(content, &file) != nil || file.Headers == nil || file.Body == nil {
		return Recorded{}, false
	}
	r := Recorded{Header: http.Header{}, Body: file.Body}
	for name, value := range file.Headers {
		if strings.ContainsAny(value, "\r\n") || !headerName.MatchString(name) {
			return Recorded{}, false
		}
		r.Header.Set(name, value)
	}
	for _, name := range perRequest {
		r.Header.Del(name)
	}
	return r, true
}
