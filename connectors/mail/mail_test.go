package mail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/mail"
	simulated "raffsync/connectors/simulator/mail"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	password  = "hunter2hunter2"
	recipient = "ops@kopi.example"
	key       = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// trusted is the server whose authority the system trusts: that can be said once a
// process only, before anything is verified.
var trusted *simulated.Server

func TestMain(m *testing.M) {
	code := 1
	func() {
		var err error
		if trusted, err = simulated.Start(simulated.Config{Username: "sync", Password: password}); err != nil {
			panic(err)
		}
		defer trusted.Down()
		dir, err := os.MkdirTemp("", "raffsync-mail-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		ca := filepath.Join(dir, "ca.pem")
		if err := os.WriteFile(ca, trusted.CA(), 0o600); err != nil {
			panic(err)
		}
		os.Setenv("SSL_CERT_FILE", ca)
		code = m.Run()
	}()
	os.Exit(code)
}

func build(t testing.TB, server string, change map[string]string, development bool) (connectors.Destination, error) {
	t.Helper()
	settings := map[string]string{"server": server, "from": "sync@kopi.example", "to": recipient, "username": "sync", "password": "env:MAIL_PASSWORD"}
	for name, v := range change {
		if settings[name] = v; v == "" {
			delete(settings, name)
		}
	}
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return mail.Factory(connectors.Options{Name: "mailto:" + recipient, Settings: raw, AllowLoopback: development, Secret: func(string) (string, error) { return password, nil }})
}

func send(t testing.TB, d connectors.Destination, subject, text string) connectors.Outcome {
	t.Helper()
	data, err := json.Marshal(connectors.Notice{Subject: subject, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	request, err := d.Prepare(connectors.Step{Event: &connectors.Event{ID: "e", Data: data}, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%v %+v %#v", request, request, request); strings.Contains(shown, subject) {
		t.Errorf("the request shows what it says: %s", shown)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return d.Send(ctx, request)
}

func TestSend(t *testing.T) {
	d, err := build(t, trusted.Address(), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	before := len(trusted.Messages())
	o := send(t, d, "Tidak ada pemetaan untuk sku “LATTE”\r\nBcc: x@example.com", "Langkah berikutnya: …\n.\nhttps://sync.example/acknowledge?t="+strings.Repeat("x", 120)+"\n")
	if o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED {
		t.Fatalf("%+v", o)
	}
	m := trusted.Messages()[before]
	if m.To != recipient || m.From != "sync@kopi.example" || m.Subject != "Tidak ada pemetaan untuk sku “LATTE” Bcc: x@example.com" || m.Header.Get("Bcc") != "" {
		t.Errorf("%+v", m)
	}
	if !strings.Contains(m.Text, "\n.\nhttps://sync.example/acknowledge?t="+strings.Repeat("x", 120)+"\n") || m.ID != "<"+key[:32]+"@kopi.example>" {
		t.Errorf("id %s, text %q", m.ID, m.Text)
	}
}

// A server that has taken it and goes away leaves the outcome open; the second time it has
// the same id.
func TestSend_Vanishes(t *testing.T) {
	d, err := build(t, trusted.Address(), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	before := len(trusted.Messages())
	trusted.Vanish(1)
	if o := send(t, d, "subject", "text"); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME || !d.Traits().Idempotent {
		t.Errorf("%+v", o)
	}
	if o := send(t, d, "subject", "text"); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED {
		t.Errorf("%+v", o)
	}
	if all := trusted.Messages()[before:]; len(all) != 2 || all[0].ID != all[1].ID {
		t.Errorf("%+v", all)
	}
}

func TestSend_Refused(t *testing.T) {
	open, err := simulated.Start(simulated.Config{NoTLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(open.Down)
	untrusted, err := simulated.Start(simulated.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(untrusted.Down)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	noLogin := map[string]string{"username": "", "password": ""}
	const transient, validation, unclassified = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
	for name, c := range map[string]struct {
		server      string
		change      map[string]string
		development bool
		code        int // of the recipient
		kind        raffsyncv1.OutcomeKind
		rule        string
	}{
		"WrongPassword":    {server: trusted.Address(), change: map[string]string{"username": "other"}, kind: unclassified, rule: "login refused"},
		"NoSuchBox":        {server: trusted.Address(), code: 550, kind: validation, rule: "status 550"},
		"Busy":             {server: trusted.Address(), code: 450, kind: transient, rule: "status 450"},
		"NoLogin":          {server: trusted.Address(), change: noLogin, kind: validation, rule: "status 502"},
		"NoTLS":            {server: open.Address(), change: noLogin, kind: transient, rule: "no greeting"},
		"PlainDevelopment": {server: open.Address(), change: noLogin, development: true, kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, rule: "status 250"},
		"Untrusted":        {server: untrusted.Address(), change: noLogin, kind: transient, rule: "no TLS"},
		"Down":             {server: closed.Addr().String(), kind: transient, rule: "no connection"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := build(t, c.server, c.change, c.development)
			if err != nil {
				t.Fatal(err)
			}
			trusted.Refuse(recipient, c.code)
			defer trusted.Refuse(recipient, 0)
			o := send(t, d, "subject", "text")
			if o.Kind != c.kind || o.Rule != c.rule || o.Reason == "" {
				t.Errorf("%+v, want %s by rule %q", o, c.kind, c.rule)
			}
			if strings.Contains(fmt.Sprintf("%+v", o), password) {
				t.Errorf("the password shows: %+v", o)
			}
		})
	}
	t.Run("Mute", func(t *testing.T) {
		d, err := build(t, mute.Addr().String(), nil, false)
		if err != nil {
			t.Fatal(err)
		}
		request, err := d.Prepare(connectors.Step{Event: &connectors.Event{Data: []byte(`{"subject":"s","text":"t"}`)}, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if o := d.Send(ctx, request); o.Kind != transient {
			t.Errorf("%+v", o)
		}
	})
}

func TestFactory(t *testing.T) {
	for name, c := range map[string]struct{ field, value, want string }{
		"NoPort":      {"server", "smtp.example.com", "server: "},
		"OddFrom":     {"from", "Sync <sync@example.com>", "from: "},
		"OddTo":       {"to", "ops@example.com\r\nDATA", "to: "},
		"NoTo":        {"to", "", "to: "},
		"HalfALogin":  {"password", "", "password: "},
		"Unknown":     {"sever", "x", "settings: "},
		"TwoTo":       {"to", "a@example.com, b@example.com", "to: "},
		"PortTooHigh": {"server", "smtp.example.com:99999", "server: "},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := build(t, "smtp.example.com:587", map[string]string{c.field: c.value}, false); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one of %q", err, c.want)
			}
		})
	}
	d, err := build(t, "smtp.example.com:587", nil, false)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "destination", d)
	if shown := fmt.Sprintf("%v %+v %#v %s", d, d, d, log.String()); strings.Contains(shown, password) {
		t.Errorf("the password shows: %s", shown)
	}
	if _, err := d.Prepare(connectors.Step{Event: &connectors.Event{Data: []byte(`{"order":1}`)}, Key: key}); err == nil {
		t.Error("an order is sent as a notice")
	}
}
