package webhook_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/connectors/webhook"
)

func TestFactory_Traits(t *testing.T) {
	for _, test := range []struct {
		extra map[string]any
		want  connectors.Traits
	}{
		{nil, connectors.Traits{Idempotent: true}},
		{map[string]any{"idempotent": true, "deduplication_window": "24h"}, connectors.Traits{Idempotent: true, DeduplicationWindow: 24 * time.Hour}},
		{map[string]any{"idempotent": false}, connectors.Traits{}},
	} {
		settings := map[string]any{"url": "https://books.example/hooks", "secret": "env:SECRET"}
		for name, value := range test.extra {
			settings[name] = value
		}
		if diff := cmp.Diff(test.want, build(t, settings).Traits()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.extra, diff)
		}
	}
}

func TestFactory_RefusesSettings(t *testing.T) {
	const good = `"url": "https://books.example/hooks", "secret": "env:SECRET"`
	for _, test := range []struct{ settings, want string }{
		{``, `settings: must be a JSON object with ask, auth, deduplication_window, headers, idempotent, previous_secret, secret, url`},
		{`null`, `must be a JSON object`},
		{`["url"]`, `must be a JSON object`},
		{`{` + good + `} {}`, `must be a JSON object`},
		{`{` + good + `, "uri": 1}`, `no setting "uri"; there is ask, auth, deduplication_window, headers,`},
		{`{` + good + `, "Secret": "5s"}`, `no setting "Secret"`},
		{`{` + good + `, "idempotent": "yes"}`, `idempotent: must be true or false, not string`},
		{`{` + good + `, "headers": []}`, `headers: must be an object of texts, not array`},

		{`{"secret": "env:SECRET"}`, `url: is missing; expected for example "https://`},
		{`{"secret": "env:SECRET", "url": "books.example/hooks"}`, `url: is not an absolute URL`},
		{`{"secret": "env:SECRET", "url": "https://:443/"}`, `url: is not an absolute URL`},
		{`{"secret": "env:SECRET", "url": "https://user:pass@books.example"}`, `url: holds a user or password`},
		{`{"secret": "env:SECRET", "url": "https://books.example/#a"}`, `url: has a fragment`},
		{`{"secret": "env:SECRET", "url": "ftp://books.example"}`, `url: scheme "ftp"; must be https`},
		{`{"secret": "env:SECRET", "url": "http://books.example/hooks/t0ken"}`, `url: http to books.example would send in the clear`},

		{`{"url": "https://books.example"}`, `secret: is missing; expected a reference`},
		{`{"url": "https://books.example", "secret": "` + signingSecret + `"}`, `secret: must be a reference`},
		{`{"url": "https://books.example", "secret": "env:NONE"}`, `secret: env:NONE: is not set`},
		{`{"url": "https://books.example", "secret": "env:AUTHORIZATION"}`, `secret: env:AUTHORIZATION does not begin with whsec_`},
		{`{` + good + `, "previous_secret": "env:NONE"}`, `previous_secret: env:NONE: is not set`},

		{`{` + good + `, "deduplication_window": "-1h"}`, `deduplication_window: is negative`},
		{`{` + good + `, "deduplication_window": "1h", "idempotent": false}`, `deduplication_window: means nothing with idempotent: false`},

		{`{` + good + `, "headers": {"content-type": "text/plain"}}`, `headers: Content-Type can't be set: it is the event's content type`},
		{`{` + good + `, "headers": {"transfer-encoding": "chunked"}}`, `headers: Transfer-Encoding can't be set: it is of the connection`},
		{`{` + good + `, "headers": {"idempotency-key": "1"}}`, `headers: Idempotency-Key can't be set`},
		{`{` + good + `, "headers": {"webhook-id": "1"}}`, `headers: Webhook-Id can't be set: names with Webhook- are set for each event`},
		{`{` + good + `, "headers": {"CE-TYPE": "1"}}`, `headers: Ce-Type can't be set`},
		{`{` + good + `, "headers": {"X Shop": "1"}}`, `headers: "X Shop" is not the name of a header`},
		{`{` + good + `, "headers": {"": "1"}}`, `headers: "" is not the name of a header`},
		{`{` + good + `, "headers": {"x-a": "1", "X-A": "2"}}`, `headers: "X-A" stands there twice`},
		{`{` + good + `, "headers": {"X-Shop": "a\r\nX-Injected: 1"}}`, `headers: X-Shop: must be at most 4096 bytes, without control characters`},
		{`{` + good + `, "headers": {"X-Shop": "env:NONE"}}`, `headers: X-Shop: env:NONE: is not set`},

		{`{` + good + `, "ask": "https://books.example/{id}"}`, `ask: must be an object, not string`},
		{`{` + good + `, "ask": {}}`, `ask: url: is missing; expected for example "https://example.com/hooks/{id}"`},
		{`{` + good + `, "ask": {"url": "https://books.example/{id}", "method": "PUT"}}`, `ask: no setting "method"; there is url`},
		{`{` + good + `, "ask": {"url": "https://books.example/t0ken"}}`, `ask: url: names no request`},
		{`{` + good + `, "ask": {"url": "https://books.example/{key}"}}`, `ask: url: holds {…} that is neither`},
		{`{` + good + `, "ask": {"url": "https://{id}.example/"}}`, `ask: url: {id} and {event_id} belong into its path or query`},
		{`{` + good + `, "ask": {"url": "https://books.example/#{id}"}}`, `ask: url: has a fragment`},
		{`{` + good + `, "ask": {"url": "https://{id}@books.example/"}}`, `ask: url: holds a user or password`},
		{`{` + good + `, "ask": {"url": "http://books.example/t0ken/{id}"}}`, `ask: url: http to books.example would send in the clear`},

		// All at once.
		{`{"deduplication_window": "x", "headers": {"Host": "x"}}`, "url: is missing"},
		{`{"deduplication_window": "x", "headers": {"Host": "x"}}`, "secret: is missing"},
		{`{"deduplication_window": "x", "headers": {"Host": "x"}}`, "headers: Host can't be set"},
	} {
		_, err := webhook.Factory(connectors.Options{
			Name: "books", Settings: json.RawMessage(test.settings), Secret: resolve, AllowLoopback: true,
		})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\n got: %v\nwant: %s", test.settings, err, test.want)
			continue
		}
		for _, secret := range []string{signingSecret, bearer, "t0ken", "pass@"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error shows what is confidential: %v", test.settings, err)
			}
		}
	}
}

func TestFactory_LoopbackInDevelopmentOnly(t *testing.T) {
	for _, url := range []string{"http://127.0.0.1:8080", "https://127.0.0.1", "http://localhost:8080", "http://[::1]:8080", "http://LOCALHOST"} {
		o := options(t, map[string]any{"url": url, "secret": "env:SECRET"})
		if _, err := webhook.Factory(o); err != nil {
			t.Errorf("%s where loopback is allowed: %v", url, err)
		}
		o.AllowLoopback = false
		if _, err := webhook.Factory(o); err == nil || !strings.Contains(err.Error(), "this machine") && !strings.Contains(err.Error(), "in the clear") {
			t.Errorf("%s where loopback is not allowed: %v", url, err)
		}
	}
}

func TestFactory_SecretSizes(t *testing.T) {
	for _, test := range []struct{ secret, want string }{
		{"whsec_" + strings.Repeat("A", 28), "has 21 bytes; a secret must have 24 to 64"},
		{"whsec_" + strings.Repeat("A", 32), ""},
		{"whsec_" + strings.Repeat("A", 88), "has 66 bytes"},
		{"whsec_???", "is not base64 after whsec_"},
		{"", "does not begin with whsec_"},
		{"whsk_" + strings.Repeat("A", 32), "does not begin with whsec_"},
	} {
		o := options(t, map[string]any{"url": "https://books.example", "secret": "env:X"})
		o.Secret = func(string) (string, error) { return test.secret, nil }
		_, err := webhook.Factory(o)
		if got := fmt.Sprint(err); test.want == "" && err != nil || !strings.Contains(got, test.want) {
			t.Errorf("%s: %v, want %q", test.secret, err, test.want)
		}
	}
}
