package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// sender posts signed webhooks, as the broker's webhook destination does.
type sender struct {
	url  string
	hook *standardwebhooks.Webhook
	http *http.Client
}

func newSender(t testing.TB, url string) *sender {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &sender{url: url, hook: hook, http: &http.Client{Transport: transport}}
}

func (s *sender) request(t testing.TB, key, event, body string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/events", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	// net/http would resend a request that carries a key by itself.
	request.GetBody = nil
	now := time.Now()
	signature, err := s.hook.Sign(key, now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Webhook-Id":        key,
		"Webhook-Timestamp": fmt.Sprint(now.Unix()),
		"Webhook-Signature": signature,
		"Idempotency-Key":   key,
		"Ce-Id":             event,
		"Ce-Source":         "/kopi/shop",
		"Ce-Type":           "order.created",
		"Ce-Subject":        "order/10%2042",
	} {
		request.Header.Set(name, value)
	}
	return request
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) code(t testing.TB) string {
	t.Helper()
	var body struct{ Error refusal }
	if err := json.Unmarshal(r.body, &body); err != nil {
		t.Fatalf("%v in %q", err, r.body)
	}
	return body.Error.Code
}

func (s *sender) do(request *http.Request) (reply, error) {
	response, err := s.http.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, body}, err
}

func (s *sender) mustDo(t testing.TB, request *http.Request) reply {
	t.Helper()
	r, err := s.do(request)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bench is a platform behind a real listener, and somebody who sends to it.
type bench struct {
	*Platform
	*sender
}

func newBench(t *testing.T, change func(*Config)) bench {
	t.Helper()
	config := Config{Name: "books", Behaviour: Healthy, Secret: secret, Ledger: filepath.Join(t.TempDir(), "ledger")}
	if change != nil {
		change(&config)
	}
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p.Handler())
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return bench{p, newSender(t, server.URL)}
}

func (b bench) get(t *testing.T, path string, into any) {
	t.Helper()
	response, err := b.http.Get(b.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}
