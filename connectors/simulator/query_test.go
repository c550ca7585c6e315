package simulator

import (
	"net/http"
	"testing"
)

// A platform is asked about a key, and about one whose requests it failed.
func TestPlatform_Tells(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Forgetful = true })
	ask := func(key string) *http.Request {
		request := b.request(t, key, "", "")
		request.Method, request.Body, request.ContentLength = http.MethodGet, nil, 0
		request.URL.Path = "/events/" + key
		return request
	}
	if r := b.mustDo(t, ask("k1")); r.status != http.StatusNotFound || r.code(t) != "no_effect" {
		t.Errorf("before the request: %d %s", r.status, r.body)
	}
	b.mustDo(t, b.request(t, "k1", "order/1", "{}"))
	if r := b.mustDo(t, ask("k1")); r.status != http.StatusOK || string(r.body) != `{"id":"books-1","status":"effect"}`+"\n" {
		t.Errorf("after the request: %d %s", r.status, r.body)
	}
	if r := b.mustDo(t, ask("k2")); r.status != http.StatusNotFound {
		t.Errorf("about another key: %d %s", r.status, r.body)
	}
	unsigned := ask("k1")
	unsigned.Header.Set("Webhook-Signature", "v1,AAAA")
	if r := b.mustDo(t, unsigned); r.status != http.StatusUnauthorized {
		t.Errorf("without a signature: %d %s", r.status, r.body)
	}
	b.mustDo(t, b.request(t, "k1", "order/1", "{}"))
	if s := b.Summary(); s.Requests != 2 || s.Effects != 2 || s.Duplicates != 1 {
		t.Errorf("a forgetful platform has %+v, want two effects of two requests", s)
	}
}
