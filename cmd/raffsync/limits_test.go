package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"raffsync/connectors/simulator/mail"
)

// onWire counts what comes to a platform, and how much of it is there at once.
type onWire struct {
	limit int // at once, by what is declared
	hold  time.Duration
	until chan struct{} // each is held until it is closed, if it is there; more than the limit close it

	mu          sync.Mutex
	came        []time.Time
	there, most int
	opened      sync.Once // closes until: there may be more than the limit, fewer, and more again
}

// pass takes one request. It counts as over before its answer is written, so that whoever
// has the answer and sends the next never has two there.
func (w *onWire) pass() {
	w.mu.Lock()
	w.came, w.there = append(w.came, time.Now()), w.there+1
	w.most = max(w.most, w.there)
	if w.until != nil && w.there > w.limit {
		w.opened.Do(func() { close(w.until) })
	}
	w.mu.Unlock()
	if w.until != nil {
		<-w.until
	} else {
		held := time.NewTimer(w.hold)
		<-held.C
	}
	w.mu.Lock()
	w.there--
	w.mu.Unlock()
}

// beyond says in which way more came than is declared since the first could have been
// sent. However late requests arrive, keeping the limits gives none of it.
func (w *onWire) beyond(since time.Time, every time.Duration, burst int) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.most > w.limit {
		all = append(all, fmt.Sprintf("%d at once, and %d are declared", w.most, w.limit))
	}
	for i, at := range w.came {
		if least := time.Duration(i+1-max(burst, 1)) * every; at.Sub(since) < least {
			all = append(all, fmt.Sprintf("request %d came after %s, and no sooner than %s is declared", i+1, at.Sub(since), least))
			break
		}
	}
	return all
}

// web is a platform on the wire that answers everything as if it had been done; what
// authorises requests is not counted.
func web(t *testing.T, w *onWire, status int, answer string, credentials map[string]string) string {
	server := httptest.NewUnstartedServer(nil)
	at := "http://" + server.Listener.Addr().String()
	server.Config.Handler = http.HandlerFunc(func(r http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		r.Header().Set("Content-Type", "application/json")
		if credential, ok := credentials[q.URL.Path]; ok {
			_, _ = io.WriteString(r, strings.ReplaceAll(credential, "URL", at))
			return
		}
		w.pass()
		r.WriteHeader(status)
		_, _ = io.WriteString(r, answer)
	})
	server.Start()
	t.Cleanup(server.Close)
	return at
}

// mailServer is a mail server on the wire: a message is there from MAIL on, until the server is
// about to say that it has it.
func mailServer(t *testing.T, w *onWire) string {
	server, err := mail.Start(mail.Config{NoTLS: true})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(); server.Down() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go relay(client, server.Address(), w)
		}
	}()
	return listener.Addr().String()
}

func relay(client net.Conn, to string, w *onWire) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	sent := make(chan struct{}, 1)
	go func() {
		defer server.Close()
		lines := bufio.NewReader(client)
		for {
			line, err := lines.ReadString('\n')
			if line == ".\r\n" {
				sent <- struct{}{}
			}
			if _, failed := io.WriteString(server, line); err != nil || failed != nil {
				return
			}
		}
	}()
	answers := textproto.NewReader(bufio.NewReader(server))
	for {
		line, err := answers.ReadLine()
		if err != nil {
			return
		}
		select {
		case <-sent:
			w.pass()
		default:
		}
		if _, err := io.WriteString(client, line+"\r\n"); err != nil {
			return
		}
	}
}

// limited are the destinations that ship, each with what its platform answers where it did
// what it was asked to. What is declared is what the file, the recipe or the kind says.
type limited struct {
	name  string
	route string // of the events to it; "" for notices
	file  string // below destinations; URL stands for where the platform is
	data  string
	serve func(*testing.T, *onWire) string
}

func answering(status int, answer string, credentials map[string]string) func(*testing.T, *onWire) string {
	return func(t *testing.T, w *onWire) string { return web(t, w, status, answer, credentials) }
}

const noticeData = `{"subject": "s", "text": "t"}`

var shippedDestinations = []limited{
	{"hooked", "webhook", `{webhook: {url: "URL/events", secret: "env:SECRET"}, limits: {concurrency: 3, rate: 10/s, burst: 4}}`, `{}`, answering(200, "", nil)},
	{
		"accurate-online", "sales-invoice.save", `{recipe: accurate-online, auth: {token: "env:SECRET", secret: "env:SECRET", after: [{url: "URL/api/api-token.do", require: s, variables: {host: d.database.host}}]}}`,
		`{"number": "1", "date": "2026-11-25", "customer": {"id": "C-7"}, "lines": [{"sku": "LATTE", "quantity": 1, "price": "3.50"}]}`,
		answering(200, `{"s": true, "d": ["berhasil disimpan"], "r": {"id": 4711, "number": "A-1"}}`, map[string]string{"/api/api-token.do": `{"s": true, "d": {"database": {"host": "URL"}}}`}),
	},
	{
		"xero", "invoice.create", `{recipe: xero, settings: {url: "URL/api.xro/2.0"}, auth: {client_id: c, client_secret: "env:SECRET", authorize_url: "URL/authorize", token_url: "URL/connect/token", after: [{method: GET, url: "URL/connections", variables: {tenant: 0.tenantId}}]}}`,
		`{"number": "1", "date": "2026-11-25", "currency": "USD", "taxes_included": false, "customer": {"id": "C-7", "name": "Ani"}, "lines": [{"sku": "LATTE", "name": "Latte", "quantity": 1, "price": "3.50"}]}`,
		answering(200, `{"Status": "OK", "Invoices": [{"InvoiceID": "i-1", "InvoiceNumber": "N-1", "StatusAttributeString": "OK"}]}`, map[string]string{
			"/connect/token": `{"access_token": "at-0123456789", "refresh_token": "rt-0123456789", "expires_in": 1800, "token_type": "Bearer"}`, "/connections": `[{"tenantId": "t-1"}]`,
		}),
	},
	{
		"shopify-admin", "order.create", `{recipe: shopify-admin, settings: {url: "URL", token: "env:SECRET"}}`,
		`{"number": "1", "date": "2026-11-25T10:00:00Z", "currency": "USD", "taxes_included": false, "customer": {"email": "ani@example.com"}, "lines": [{"sku": "LATTE", "name": "Latte", "quantity": 1, "price": "3.50"}]}`,
		answering(200, `{"data": {"done": {"made": {"id": "gid://shopify/Order/1", "legacyResourceId": "1", "name": "#1001"}, "userErrors": []}}}`, nil),
	},
	{
		"woocommerce", "order.create", `{recipe: woocommerce, settings: {url: "URL"}, auth: {username: ck, password: "env:SECRET"}}`,
		`{"number": "1", "date": "2026-11-25T10:00:00Z", "currency": "USD", "taxes_included": false, "customer": {"id": "7", "first_name": "Ani", "last_name": "W", "email": "ani@example.com"}, "lines": [{"sku": "LATTE", "name": "Latte", "quantity": 1, "price": "3.50"}]}`,
		answering(201, `{"id": 727, "number": "N-727", "total": "3.50"}`, nil),
	},
	{"chat:env:CHAT_URL", "", `{webhook: {url: "URL", secret: "env:SECRET"}}`, noticeData, answering(200, "ok", nil)},
	{"mailto:ops@kopi.example", "", "", noticeData, mailServer},
}

// Every destination that ships declares what its platform bears, and a burst over two
// replicas never brings more than that to the wire: neither at once nor in a time.
func TestDestinations_KeepTheirLimits(t *testing.T) {
	s := newLimitedShop(t, shippedDestinations, func(_ string, _ *onWire, file string) string { return file })
	for name, d := range s.declared {
		if d.Concurrency < 1 || d.Concurrency > 8 {
			t.Errorf("%s declares %d at once", name, d.Concurrency)
		}
		every, err := d.Rate.Every()
		if err != nil {
			t.Fatal(err)
		}
		// So long that both limits are reached, but for Xero's, which would take a minute.
		s.wires[name].limit, s.wires[name].hold = d.Concurrency, max(30*time.Millisecond, min(time.Duration(d.Concurrency+1)*every, 1200*time.Millisecond))
	}
	// Xero takes one in a second after the first five.
	each := func(name string) int {
		if name == "xero" {
			return 7
		}
		return 12
	}
	since := s.burst(shippedDestinations, each)
	for name, d := range s.declared {
		w := s.wires[name]
		every, err := d.Rate.Every()
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range w.beyond(since, every, d.Burst) {
			t.Errorf("%s: %s", name, wrong)
		}
		if len(w.came) != each(name) {
			t.Errorf("%s: %d requests of %d deliveries", name, len(w.came), each(name))
		}
	}
}

// The wire shows it where a destination is let do more than it is held to.
func TestDestinations_BeyondTheirLimitsShow(t *testing.T) {
	hooked := shippedDestinations[:1]
	s := newLimitedShop(t, hooked, func(_ string, w *onWire, file string) string {
		w.limit, w.until = 3, make(chan struct{})
		return strings.Replace(file, "{concurrency: 3, rate: 10/s, burst: 4}", "{concurrency: 8}", 1)
	})
	since := s.burst(hooked, func(string) int { return 12 })
	if wrong := s.wires["hooked"].beyond(since, time.Hour, 4); len(wrong) != 2 {
		t.Errorf("it finds %q", wrong)
	}
}
