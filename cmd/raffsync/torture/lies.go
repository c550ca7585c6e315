package torture

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// lie is a way to answer. before: the request has no effect, and whether that shows is
// another matter.
type lie struct {
	name   string
	before bool
	answer func(http.ResponseWriter, *http.Request, *platform)
}

var truth = &lie{answer: func(w http.ResponseWriter, r *http.Request, _ *platform) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"id": keyOf(r)})
}}

// late is longer than the time-out of the torture's destinations, hanging longer still.
const (
	late    = requestTimeout + 300*time.Millisecond
	hanging = 3 * requestTimeout
)

// questionLies of them, the first, are told to those who only ask, too.
const questionLies = 3

var lies = []*lie{
	{"503", true, just(http.StatusServiceUnavailable)},
	{"reset", true, func(w http.ResponseWriter, _ *http.Request, _ *platform) { raw(w, "", true) }},
	{"hang", true, func(w http.ResponseWriter, r *http.Request, _ *platform) { linger(r, hanging); raw(w, "", true) }},
	{"redirect", true, func(w http.ResponseWriter, r *http.Request, p *platform) {
		http.Redirect(w, r, p.url+"/canary", http.StatusTemporaryRedirect)
	}},
	{"500 after the effect", false, just(http.StatusInternalServerError)},
	{"reset after the effect", false, func(w http.ResponseWriter, _ *http.Request, _ *platform) { raw(w, "", true) }},
	{"200, then reset", false, func(w http.ResponseWriter, _ *http.Request, _ *platform) {
		raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 512\r\n\r\n{\"id\":", true)
	}},
	{"200, late", false, func(w http.ResponseWriter, r *http.Request, p *platform) {
		linger(r, late)
		truth.answer(w, r, p)
	}},
	{"body without end", false, func(w http.ResponseWriter, r *http.Request, _ *platform) {
		line := []byte(strings.Repeat("no end ", 1<<10))
		for begin := time.Now(); time.Since(begin) < hanging; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}},
	{"gzip bomb", false, func(w http.ResponseWriter, _ *http.Request, _ *platform) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb())
	}},
	{"length too short", false, func(w http.ResponseWriter, _ *http.Request, _ *platform) {
		raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"id\":\"longer than it says\"}", false)
	}},
	{"length too long", false, func(w http.ResponseWriter, r *http.Request, _ *platform) {
		raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"id\":%q}", keyOf(r)), false)
	}},
	{"not HTTP", false, func(w http.ResponseWriter, _ *http.Request, _ *platform) {
		raw(w, "\x16\x03\x01 <html>Bad Gateway\x00\r\n\r\n", false)
	}},
	{"headers without end", false, func(w http.ResponseWriter, _ *http.Request, _ *platform) {
		raw(w, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-Header: and another one\r\n", 1<<16), false)
	}},
	{"two answers", false, func(w http.ResponseWriter, _ *http.Request, _ *platform) {
		one := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
		raw(w, one+one, false)
	}},
}

func stormLie(code int) *lie { return &lie{fmt.Sprintf("storm of %d", code), true, just(code)} }

func just(code int) func(http.ResponseWriter, *http.Request, *platform) {
	return func(w http.ResponseWriter, _ *http.Request, _ *platform) {
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		http.Error(w, `{"error":"in trouble"}`, code)
	}
}

// linger waits, or until the caller goes.
func linger(r *http.Request, d time.Duration) { pause(r.Context(), d) }

// raw writes these bytes in place of an answer, and ends the connection.
func raw(w http.ResponseWriter, text string, byReset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(hanging))
	_, _ = conn.Write([]byte(text))
	if byReset {
		reset(conn)
		return
	}
	_ = conn.Close()
}

// bomb is 64 KiB that unpack to 64 MiB.
var bomb = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = w.Write(zeros) // a buffer takes everything
	}
	_ = w.Close()
	return packed.Bytes()
})
