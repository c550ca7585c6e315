package webhook_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	"raffsync/connectors/webhook"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	signingSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwQ29sZA=="
	previousSecret = "whsec_cHJldmlvdXMgc2VjcmV0LCAyNCBieXRlcyBvciBtb3Jl"
	bearer         = "tok-8f2b61d0a9"
	urlToken       = "T02AB34CD-hook-9e8d7c6b"
	queryToken     = "q-5544332211"
)

// resolve knows the references of these tests.
func resolve(reference string) (string, error) {
	switch reference {
	case "env:SECRET":
		return signingSecret, nil
	case "file:previous":
		return previousSecret + "\n", nil
	case "env:AUTHORIZATION":
		return "Bearer " + bearer, nil
	}
	return "", fmt.Errorf("%s: is not set", reference)
}

func build(t testing.TB, settings map[string]any) connectors.Destination {
	t.Helper()
	d, err := webhook.Factory(options(t, settings))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func options(t testing.TB, settings any) connectors.Options {
	t.Helper()
	encoded, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return connectors.Options{Name: "books", Settings: encoded, Secret: resolve, AllowLoopback: true}
}

func key(base string) []byte {
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(base, "whsec_"))
	if err != nil {
		panic(err)
	}
	return decoded
}

func TestWebhook_Conformance(t *testing.T) {
	connectortest.Run(t, conformance(t, nil))
}

func TestWebhook_ConformanceWhereItCanAsk(t *testing.T) {
	h := conformance(t, func(url string, settings map[string]any) {
		settings["ask"] = map[string]string{"url": url + "/hooks/" + urlToken + "/{id}?event={event_id}&token=" + queryToken}
	})
	h.Questions = questions
	h.CheckQuestion = checkQuestion
	connectortest.Run(t, h)
}

func conformance(t *testing.T, change func(url string, settings map[string]any)) connectortest.Harness {
	return connectortest.Harness{
		New: func(t testing.TB, url string) connectors.Destination {
			settings := map[string]any{
				"url":             url + "/hooks/" + urlToken + "?token=" + queryToken,
				"secret":          "env:SECRET",
				"previous_secret": "file:previous",
				"headers":         map[string]string{"Authorization": "env:AUTHORIZATION", "X-Shop": "kopi"},
			}
			if change != nil {
				change(url, settings)
			}
			return build(t, settings)
		},
		Secrets: []string{
			signingSecret, strings.TrimPrefix(signingSecret, "whsec_"), string(key(signingSecret)),
			previousSecret, strings.TrimPrefix(previousSecret, "whsec_"), string(key(previousSecret)),
			bearer, urlToken, queryToken,
		},
		Key:     func(r *http.Request, _ []byte) string { return r.Header.Get("Idempotency-Key") },
		Check:   checkRequest,
		Answers: answers(t),
	}
}

// checkRequest looks at a request the way a receiver does.
func checkRequest(r *http.Request, body []byte, step connectors.Step) error {
	event := step.Event
	if !bytes.Equal(body, event.Data) {
		return errors.New("the body is not the event's data")
	}
	for _, secret := range []string{signingSecret, previousSecret} {
		receiver, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return err
		}
		if err := receiver.Verify(body, r.Header); err != nil {
			return err
		}
	}
	contentType := event.ContentType
	if contentType == "" && len(event.Data) > 0 {
		contentType = "application/json"
	}
	want := map[string]string{
		"Webhook-Id":      step.Key,
		"Idempotency-Key": step.Key,
		"Content-Type":    contentType,
		"Authorization":   "Bearer " + bearer,
		"X-Shop":          "kopi",
		"X-Injected":      "",
		"Ce-Specversion":  "1.0",
		"Ce-Id":           event.ID,
		"Ce-Type":         event.Type,
		"Ce-Source":       "/kopi/till-7",
		"Ce-Subject":      event.OrderingKey,
		"Ce-Outlet":       event.Outlet,
	}
	if !event.OccurredAt.IsZero() {
		want["Ce-Time"] = event.OccurredAt.Format(time.RFC3339Nano)
		want["Ce-Recordedtime"] = event.AcceptedAt.Format(time.RFC3339Nano)
	}
	for name, value := range want {
		got := r.Header.Get(name)
		if strings.HasPrefix(name, "Ce-") {
			decoded, err := url.PathUnescape(got)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			got = decoded
		}
		if got != value {
			return fmt.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if agent := r.UserAgent(); !strings.HasPrefix(agent, "raffsync/") {
		return fmt.Errorf("User-Agent is %q", agent)
	}
	if r.Method != http.MethodPost || r.URL.RawQuery != "token="+queryToken {
		return fmt.Errorf("%s %s", r.Method, r.URL)
	}
	return nil
}

// outcome is a short way to write a table.
func outcome(kind raffsyncv1.OutcomeKind, rule string) connectors.Outcome {
	return connectors.Outcome{Kind: kind, Rule: rule}
}

func named(kind raffsyncv1.OutcomeKind, rule, code, field string) connectors.Outcome {
	return connectors.Outcome{Kind: kind, Rule: rule, Code: code, Field: field}
}

func later(kind raffsyncv1.OutcomeKind, rule string, after time.Duration) connectors.Outcome {
	return connectors.Outcome{Kind: kind, Rule: rule, RetryAfter: after}
}
