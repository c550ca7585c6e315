package chat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/chat"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// token is the secret part of a webhook's address.
const token = "T000-hunter2hunter2"

func build(t testing.TB, url string, development bool) (connectors.Destination, error) {
	t.Helper()
	return chat.Factory(connectors.Options{
		Name: "chat:env:OPS_CHAT_URL", Settings: json.RawMessage(`{"url":"env:OPS_CHAT_URL"}`), AllowLoopback: development,
		Secret: func(string) (string, error) { return url, nil },
	})
}

func send(t testing.TB, d connectors.Destination, n connectors.Notice) connectors.Outcome {
	t.Helper()
	data, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	request, err := d.Prepare(connectors.Step{Event: &connectors.Event{ID: "e", Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	o := d.Send(t.Context(), request)
	if shown := fmt.Sprintf("%v %+v %#v %+v", d, request, request, o); strings.Contains(shown, token) || strings.Contains(shown, n.Text) {
		t.Errorf("it shows what nobody may see: %s", shown)
	}
	return o
}

func TestSend(t *testing.T) {
	status := http.StatusOK
	var got struct{ Text string }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &got); err != nil || r.Method != http.MethodPost || r.URL.Path != "/services/"+token || bytes.Contains(body, []byte(`\u0026`)) {
			t.Errorf("%s %s %s", r.Method, r.URL, body)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte("said of " + r.URL.Path))
	}))
	defer server.Close()
	d, err := build(t, server.URL+"/services/"+token, true)
	if err != nil {
		t.Fatal(err)
	}
	notice := connectors.Notice{Subject: "Still open: <!channel> & more", Text: "Next step: add it"}
	for code, want := range map[int]raffsyncv1.OutcomeKind{
		200: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, 204: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED,
		429: raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, 500: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, 408: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT,
		302: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, 404: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, 403: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION,
	} {
		status = code
		if o := send(t, d, notice); o.Kind != want || o.Status != code || o.Reason == "" {
			t.Errorf("%d: %+v, want %s", code, o, want)
		}
	}
	if want := "Still open: &lt;!channel&gt; &amp; more\n\nNext step: add it"; got.Text != want {
		t.Errorf("it said %q, want %q", got.Text, want)
	}
	status = 200
	send(t, d, connectors.Notice{Subject: "long", Text: strings.Repeat("panjang ", 10_000)})
	if len(got.Text) > 36_000 {
		t.Errorf("it said %d bytes", len(got.Text))
	}
	server.Close()
	if d, err = build(t, server.URL+"/services/"+token, true); err != nil { // without a connection of before
		t.Fatal(err)
	}
	if o := send(t, d, notice); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT {
		t.Errorf("%+v", o)
	}
}

func TestFactory(t *testing.T) {
	for url, want := range map[string]string{
		"":                                  "url: ",
		"hooks.example.com/x":               "url: ",
		"https://10.0.0.5/" + token:         "private",
		"https://127.0.0.1/" + token:        "loopback",
		"https://169.254.169.254/" + token:  "never allowed",
		"https://0x7f.1/" + token:           "resolvers",
		"http://hooks.example.com/" + token: "https",
	} {
		if _, err := build(t, url, false); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v, want an error about %q", url, err, want)
		}
	}
	_, err := chat.Factory(connectors.Options{Settings: json.RawMessage(`{"url":"env:X"}`), Secret: func(string) (string, error) { return "", errors.New("not set") }})
	if err == nil || !strings.Contains(err.Error(), "not set") {
		t.Errorf("%v", err)
	}
	if _, err := chat.Factory(connectors.Options{Settings: json.RawMessage(`{"address":"x"}`)}); err == nil {
		t.Error("an unknown setting is taken")
	}
	d, err := build(t, "https://hooks.example.com/"+token, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := d.Send(ctx, "foreign"); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON {
		t.Errorf("%+v", o)
	}
}
