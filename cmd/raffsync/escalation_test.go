package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"raffsync/connectors/simulator/mail"
)

// whoIsTold is the example of README's section.
func whoIsTold(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "### Who is told\n")
	_, example, ok2 := strings.Cut(section, "```yaml\n")
	example, _, ok3 := strings.Cut(example, "```")
	if !ok || !ok2 || !ok3 {
		t.Fatal("README has no example of who is told")
	}
	return example
}

var link = regexp.MustCompile(`http://\S+/acknowledge\?t=\S+`)

// README's example: a refusal is told by mail, with a link that acknowledges; so is that it
// is over; and an address that is refused is an exception that nobody is told of.
func TestProgram_WhoIsTold(t *testing.T) {
	t.Parallel()
	const mailPassword = "hunter2-mail-password"
	server, err := mail.Start(mail.Config{Username: "sync", Password: mailPassword})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Down)
	chat := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(chat.Close)
	in, books := newInstallation(t), newReceiver(t)
	books.misbehave = func(w http.ResponseWriter, _ *http.Request, _ int) (bool, bool) {
		http.Error(w, "no such customer", http.StatusUnprocessableEntity)
		return true, false
	}
	signed := newReceiver(t) // gets the whole, too
	told := make(chan string, 100)
	signed.misbehave = func(_ http.ResponseWriter, q *http.Request, _ int) (bool, bool) {
		told <- q.Header.Get("Ce-Type") + " " + q.Header.Get("Ce-Source")
		return false, true
	}
	secret := "file:" + in.write("books.secret", receiverSecret)
	example := strings.NewReplacer(`["mailto:finance@kopi.example"]`, fmt.Sprintf(`["mailto:finance@kopi.example", {webhook: {url: %q, secret: %q}}]`, signed.server.URL, secret),
		"https://sync.kopi.example", "http://"+in.http, "smtp.kopi.example:587", server.Address()).Replace(whoIsTold(t))
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
routes:
  all: {from: till, to: books}
%s`, books.server.URL, secret, example))
	in.env = []string{"SSL_CERT_FILE=" + in.write("ca.pem", string(server.CA())), "MAIL_PASSWORD=" + mailPassword, "OPS_CHAT_URL=" + chat.URL + "/hooks/hunter2-chat-token"}
	program := in.start("serve", "--development", "--config", config)
	program.until(`"msg":"ready"`)
	key := strings.TrimSpace(in.run("keys", "create", "till"))
	db := in.database()
	letters := func(n int) []mail.Message {
		t.Helper()
		waitUntil(t, func() bool { return len(server.Messages()) >= n }, func() string {
			return fmt.Sprintf("%d letters of %d\n%s", len(server.Messages()), n, program.log)
		})
		return server.Messages()
	}

	send(t, t.Context(), in, key, testEvent("e-1", "order/1", "order.created"))
	first := letters(1)[0]
	if first.To != "finance@kopi.example" || first.Subject != "books finds the request invalid" || !strings.Contains(first.Text, "Next step: ") {
		t.Errorf("%+v", first)
	}

	if got := <-told; got != "raffsync.notice /kopi/raffsync" {
		t.Errorf("the signed webhook got %s", got)
	}

	at := link.FindString(first.Text)
	page := func(method, address, accept string) (int, string) {
		t.Helper()
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		body := io.Reader(nil)
		if method == http.MethodPost {
			body = strings.NewReader(url.Values{"t": u.Query()["t"]}.Encode())
			u.RawQuery = ""
		}
		request, err := http.NewRequestWithContext(t.Context(), method, u.String(), body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Accept-Language", accept)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	acknowledged := func() int {
		return query[int](t, db, `SELECT count(*) FROM timeline WHERE what = 'acknowledge' AND actor = 'mailto:finance@kopi.example'`)
	}
	for range 2 { // as scanners do
		if code, text := page(http.MethodGet, at, "id"); code != http.StatusOK || !strings.Contains(text, "Saya tangani") {
			t.Errorf("the page: %d %s", code, text)
		}
	}
	if code, text := page(http.MethodPost, at[:len(at)-2]+"AA", "en"); code != http.StatusForbidden || !strings.Contains(text, "not valid") {
		t.Errorf("a tampered link: %d %s", code, text)
	}
	if n := acknowledged(); n != 0 {
		t.Fatalf("acknowledged %d times by looking", n)
	}
	if code, text := page(http.MethodPost, at, "en"); code != http.StatusOK || !strings.Contains(text, "You have taken it up") || acknowledged() != 1 {
		t.Fatalf("acknowledging: %d %s", code, text)
	}

	// It is over.
	if _, err := db.Exec(t.Context(), `UPDATE team_notices SET told_at = told_at - interval '1 minute'`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `UPDATE exceptions SET status = 'RESOLVED', closed_at = now() WHERE class = 'VALIDATION'`); err != nil {
		t.Fatal(err)
	}
	if code, _ := page(http.MethodPost, at, "en"); code != http.StatusConflict {
		t.Errorf("acknowledging what is over: %d", code)
	}
	if m := letters(2)[1]; m.Subject != "Over: books finds the request invalid" || link.MatchString(m.Text) {
		t.Errorf("%+v", m)
	}

	// An address that does not take it.
	server.Refuse("finance@kopi.example", 550)
	if _, err := db.Exec(t.Context(), `
UPDATE team_notices SET told_at = told_at - interval '1 minute';
INSERT INTO exceptions (tenant, class, destination, code) SELECT 'kopi', 'VALIDATION', id, 'another' FROM destinations WHERE name = 'books'`); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool {
		return query[int](t, db, `SELECT count(*) FROM exceptions x JOIN escalations g ON g.exception = x.id WHERE class = 'NOTICE_FAILED' AND held = 1 AND g.policy IS NOT NULL AND g.next_at IS NULL`) == 1
	}, func() string { return "what cannot be told does not show\n" + program.log.String() })
	ids := map[string]int{}
	for _, m := range server.Messages() {
		if ids[m.ID]++; ids[m.ID] > 1 {
			t.Errorf("%s came twice", m.Subject)
		}
	}
	if len(ids) != 2 {
		t.Errorf("%d letters", len(ids))
	}
	said := program.log.String() + query[string](t, db, `SELECT string_agg(t::text, ' ') FROM timeline t`) + query[string](t, db, `SELECT string_agg(c::text, ' ') FROM configuration c`)
	for _, secret := range []string{mailPassword, "hunter2-chat-token", "acknowledge?t="} {
		if strings.Contains(said, secret) {
			t.Errorf("%s is to be read", secret)
		}
	}
}
