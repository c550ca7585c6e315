package simulator

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestNew_Refuses(t *testing.T) {
	for name, config := range map[string]Config{
		"UnknownBehaviour": {Behaviour: "moody", Secret: secret},
		"NoSecret":         {Behaviour: Healthy},
		"ShortSecret":      {Behaviour: Healthy, Secret: "whsec_c2hvcnQ="},
		"NoPrefix":         {Behaviour: Healthy, Secret: strings.TrimPrefix(secret, "whsec_")},
	} {
		t.Run(name, func(t *testing.T) {
			config.Ledger = t.TempDir() + "/ledger"
			_, err := New(config)
			if err == nil {
				t.Fatal("it was taken")
			}
			if config.Secret != "" && strings.Contains(err.Error(), config.Secret) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestPlatform_Receive(t *testing.T) {
	b := newBench(t, nil)
	first := b.mustDo(t, b.request(t, "k1", "e1", `{"number":"1042"}`))
	again := b.mustDo(t, b.request(t, "k1", "e1", `{"number":"1042"}`))
	other := b.mustDo(t, b.request(t, "k1", "e1", `{"number":"1043"}`))

	if first.status != 200 || again.status != 200 {
		t.Errorf("answered %d and %d", first.status, again.status)
	}
	if diff := cmp.Diff(`{"id":"books-1","status":"effect"}`, strings.TrimSpace(string(first.body))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(`{"id":"books-1","status":"repeat"}`, strings.TrimSpace(string(again.body))); diff != "" {
		t.Error(diff)
	}
	if other.status != http.StatusUnprocessableEntity || other.code(t) != codeKeyReused {
		t.Errorf("answered %d %s", other.status, other.body)
	}

	var page Page
	b.get(t, "/ledger/requests?event=e1", &page)
	want := []Request{
		{Seq: 1, Result: ResultEffect},
		{Seq: 2, Result: ResultRepeat},
		{Seq: 3, Result: ResultRefused, Code: codeKeyReused},
	}
	for i := range want {
		w := &want[i]
		w.Key, w.WebhookID, w.Event, w.Source, w.Type = "k1", "k1", "e1", "/kopi/shop", "order.created"
		w.OrderingKey, w.Bytes = "order/10 42", 17
	}
	if diff := cmp.Diff(want, page.Lines, cmpopts.IgnoreFields(Request{}, "At", "Body")); diff != "" {
		t.Error(diff)
	}
	var summary Summary
	b.get(t, "/ledger", &summary)
	if diff := cmp.Diff(b.Summary(), summary); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]Counts{"order.created": {Requests: 3, Effects: 1, Refused: 1}}, summary.ByType); diff != "" {
		t.Error(diff)
	}
}

// An event that comes under a second key is what a broker must never do. The
// platform cannot know better, has the effect twice, and counts it.
func TestPlatform_CountsDuplicates(t *testing.T) {
	b := newBench(t, nil)
	for _, key := range []string{"k1", "k2", "k3"} {
		b.mustDo(t, b.request(t, key, "e1", "{}"))
	}
	if s := b.Summary(); s.Effects != 3 || s.Duplicates != 2 {
		t.Errorf("%+v", s)
	}
}

func TestPlatform_Refuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		body   string
		status int
		code   string
	}{
		{"Unsigned", func(r *http.Request) { r.Header.Del("Webhook-Signature") }, "{}", 401, codeSignature},
		{"AnotherBody", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("[]")) }, "{}", 401, codeSignature},
		{"OldTimestamp", func(r *http.Request) { r.Header.Set("Webhook-Timestamp", "1700000000") }, "{}", 401, codeSignature},
		{"NoKey", func(r *http.Request) { r.Header.Del("Idempotency-Key") }, "{}", 400, codeKeyMissing},
		{"TooLong", func(*http.Request) {}, strings.Repeat("x", maxBody+1), 413, codeBodyTooLong},
		{"NoJSON", func(*http.Request) {}, "<order/>", 400, codeJSON},
		{"UnknownSKU", func(*http.Request) {}, `{"lines":[{"sku":"LATTE"},{"sku":"LATTE-OAT"}]}`, 422, codeUnknownSKU},
		{"UnknownStock", func(*http.Request) {}, `{"sku":"LATTE-OAT"}`, 422, codeUnknownSKU},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Behaviour = Strict })
			request := b.request(t, "k1", "e1", test.body)
			test.change(request)
			r := b.mustDo(t, request)
			if r.status != test.status || r.code(t) != test.code {
				t.Errorf("answered %d %s", r.status, r.body)
			}
			if s := b.Summary(); s.Effects != 0 || s.Refusals[test.code] != 1 {
				t.Errorf("%+v", s)
			}
			// A refusal does not use the key up.
			if r := b.mustDo(t, b.request(t, "k1", "e1", `{"lines":[{"sku":"LATTE"}]}`)); r.status != 200 {
				t.Errorf("the corrected request: %d %s", r.status, r.body)
			}
		})
	}
}

func TestPlatform_RefusalNamesTheField(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Behaviour, c.SKUs = Strict, []string{"A"} })
	r := b.mustDo(t, b.request(t, "k1", "e1", `{"lines":[{"sku":"A"},{"sku":"LATTE-OAT"}]}`))
	want := `{"error":{"code":"unknown_sku","field":"lines[1].sku","message":"no product with SKU \"LATTE-OAT\""}}`
	if diff := cmp.Diff(want, strings.TrimSpace(string(r.body))); diff != "" {
		t.Error(diff)
	}
}

func TestPlatform_OneEffectUnderConcurrency(t *testing.T) {
	b := newBench(t, nil)
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			r, err := b.do(b.request(t, fmt.Sprint("k", i%20), fmt.Sprint("e", i%20), "{}"))
			if err != nil || r.status != 200 {
				t.Errorf("%d %v", r.status, err)
			}
		})
	}
	group.Wait()
	if s := b.Summary(); s.Requests != 200 || s.Effects != 20 || s.Repeats != 180 || s.Duplicates != 0 {
		t.Errorf("%+v", s)
	}
}

// Whatever a failing platform answers, its line is on disk before, and the request
// repeated often enough has one effect.
func TestPlatform_Faults(t *testing.T) {
	for _, w := range usual {
		t.Run(string(w.fault), func(t *testing.T) {
			b := newBench(t, func(c *Config) {
				c.Behaviour = Failing
				c.Faults = Faults{Seed: 7, Percent: 50, Down: -1, Hang: 1, Slow: 2}
			})
			key := keyWith(t, b.faults, w.fault)
			r, err := b.do(b.request(t, key, "e1", "{}"))
			switch w.fault {
			case FaultRateSeconds, FaultRateDate:
				if r.status != 429 || r.header.Get("Retry-After") == "" {
					t.Errorf("%d %v %v", r.status, r.header, err)
				}
			case FaultUnavailable:
				if r.status != 503 {
					t.Errorf("%d %v", r.status, err)
				}
			case FaultSlow:
				if r.status != 200 {
					t.Errorf("%d %v", r.status, err)
				}
			default:
				if err == nil {
					t.Errorf("answered %d %s", r.status, r.body)
				}
			}
			var page Page
			b.get(t, "/ledger/requests", &page)
			if len(page.Lines) != 1 || page.Lines[0].Fault != w.fault || (page.Lines[0].Result == ResultEffect) != w.fault.afterEffect() {
				t.Fatalf("%+v", page.Lines)
			}
			for tries := 0; ; tries++ {
				if r, err := b.do(b.request(t, key, "e1", "{}")); err == nil && r.status == 200 {
					break
				}
				if tries == 100 {
					t.Fatal("no attempt of a hundred was answered well")
				}
			}
			if s := b.Summary(); s.Effects != 1 || s.Duplicates != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// keyWith finds a key whose first attempt meets the fault.
func keyWith(t *testing.T, faults Faults, fault Fault) string {
	t.Helper()
	for i := range 100_000 {
		if key := fmt.Sprint("k", i); faults.at(0, key, 1) == fault {
			return key
		}
	}
	t.Fatalf("no key meets %s", fault)
	return ""
}

func TestPlatform_CloseLetsGoOfRequestsThatHang(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Behaviour, c.Faults = Failing, Faults{Percent: 100, Down: -1}
	})
	key := keyWith(t, b.faults, FaultHangAfter)
	ended := make(chan error, 1)
	request := b.request(t, key, "e1", "{}")
	go func() {
		_, err := b.do(request)
		ended <- err
	}()
	// The line is there before the silence begins.
	waitUntil(t, func() bool { return b.Summary().Requests == 1 })
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the request was answered")
	}
}

func TestPlatform_AnswersNothingWellOnceTheLedgerFails(t *testing.T) {
	b := newBench(t, nil)
	b.mustDo(t, b.request(t, "k1", "e1", "{}"))
	if err := b.ledger.file.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := b.mustDo(t, b.request(t, "k2", "e2", "{}")); r.status != 500 {
			t.Errorf("answered %d %s", r.status, r.body)
		}
	}
	<-b.ledger.failed
	// The bench closes what is closed already.
	b.ledger.file = nil
	b.Platform.close = func() error { return nil }
	if b.ledger.broken() == nil || errors.Is(b.ledger.broken(), errLocked) {
		t.Error(b.ledger.broken())
	}
}

func TestPlatform_Pages(t *testing.T) {
	b := newBench(t, nil)
	for i := range 5 {
		b.mustDo(t, b.request(t, fmt.Sprint("k", i), fmt.Sprint("e", i), "{}"))
	}
	b.mustDo(t, b.request(t, "k0", "e0", "{}"))
	var seen []int64
	for after := int64(0); ; {
		var page Page
		b.get(t, fmt.Sprintf("/ledger/effects?limit=2&after=%d", after), &page)
		for _, r := range page.Lines {
			seen = append(seen, r.Seq)
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5}, seen); diff != "" {
		t.Error(diff)
	}
	for _, query := range []string{"after=x", "limit=-1", "limit=10001"} {
		response, err := b.http.Get(b.url + "/ledger/requests?" + query)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", query, response.Status)
		}
	}
}
