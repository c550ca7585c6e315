package hooks

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// headersOf are the headers as expressions see them: by lower-case name, several of a
// name joined with commas.
func headersOf(h http.Header) map[string]string {
	all := make(map[string]string, len(h))
	for name, values := range h {
		all[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return all
}

// queryOf is the query as expressions see it: the first value of each name.
func queryOf(raw string) map[string]string {
	all := make(map[string]string)
	parsed, _ := url.ParseQuery(raw) // what cannot be read is absent
	for name, values := range parsed {
		all[name] = values[0]
	}
	return all
}

// isPing recognises what WooCommerce sends when a webhook is saved: a form with the
// webhook's number, not signed. It wants exactly 200, and is no event.
func (s *Source) isPing(q *http.Request, body *raw) bool {
	if s.verifier.header != schemes["woocommerce"].header || len(q.Header.Values(s.verifier.header)) > 0 {
		return false
	}
	number, ok := bytes.CutPrefix(body.data, []byte("webhook_id="))
	return ok && len(number) > 0 && len(number) <= 20 && len(bytes.Trim(number, "0123456789")) == 0 && body.complete()
}

// newNobody stands in for a source that is not there.
func newNobody() *Source {
	key := []byte(rand.Text())
	s := &Source{verifier: verifier{scheme: schemes["shopify"], keys: func() [][]byte { return [][]byte{key} }}}
	s.verifier.template, _ = parseTemplate(s.verifier.signed)
	return s
}

// warnEvery is how often a source's refused webhooks make a line in the log.
const warnEvery = time.Minute

// warnings counts what is not logged.
type warnings struct {
	mu sync.Mutex
	of map[seat]*warning
}

type warning struct {
	at time.Time
	n  int
}

// count returns how many there were since the last line, when it is time for another.
func (w *warnings) count(at seat, now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.of[at]
	if one == nil {
		if w.of == nil {
			w.of = make(map[seat]*warning)
		}
		one = &warning{}
		w.of[at] = one
	}
	one.n++
	if now.Sub(one.at) < warnEvery {
		return 0
	}
	n := one.n
	one.at, one.n = now, 0
	return n
}
