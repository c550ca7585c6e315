package xero

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

type object = map[string]any

var app = OAuth{ClientID: "id", ClientSecret: "secret", Code: "code"}

// shop is an organisation with an app that is connected to it.
type shop struct {
	*Simulator
	t      *testing.T
	url    string
	access string
	clock  *clock
}

// clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newShop(t *testing.T, change func(*Config)) *shop {
	k := &clock{at: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)}
	c := Config{OAuth: app, PerMinute: 1000, Parallel: 100, Now: k.now, Contacts: []Contact{{ID: "c1", Name: "Ani"}}}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	o := &shop{s, t, server.URL, "", k}
	o.access = o.grant(url.Values{"grant_type": {"authorization_code"}, "code": {"code"}})["access_token"].(string)
	return o
}

func (s *shop) grant(form url.Values) object {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("id", "secret")
	_, o, _ := s.do(r)
	return o
}

func (s *shop) do(r *http.Request) (int, object, http.Header) {
	s.t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	o := make(object)
	_ = json.Unmarshal(body, &o) // a refusal may have none
	return response.StatusCode, o, response.Header
}

func (s *shop) request(method, path, key, body string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+"/api.xro/2.0/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.access)
	r.Header.Set("Xero-Tenant-Id", s.config.Tenant)
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return r
}

func (s *shop) call(method, path, key, body string) (int, object) {
	s.t.Helper()
	status, o, _ := s.do(s.request(method, path, key, body))
	return status, o
}

func invoice(number, status, lines string) string {
	return fmt.Sprintf(`{"Invoices":[{"Type":"ACCREC","Contact":{"ContactID":"c1"},"InvoiceNumber":%q,"Date":"2026-11-24","DueDate":"2026-12-24","Status":%q,"LineItems":[%s]}]}`, number, status, lines)
}

const line = `{"Description":"Latte","Quantity":3,"UnitAmount":1.335,"AccountCode":"200","TaxType":"OUTPUT2"}`

func TestSimulator_Keys(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	body := invoice("INV-1", "AUTHORISED", line)
	for range 2 {
		if status, o := s.call("PUT", "Invoices", "k1", body); status != http.StatusOK {
			t.Fatalf("%d %v", status, o)
		}
	}
	if n := len(s.Documents("Invoices")); n != 1 {
		t.Errorf("%d invoices", n)
	}
	if status, _ := s.call("PUT", "Invoices", "k1", invoice("INV-2", "DRAFT", line)); status != http.StatusBadRequest {
		t.Errorf("a key with another body: %d", status)
	}
	// An error is remembered as well, and forgotten as soon.
	if status, _ := s.call("PUT", "Invoices", "k2", body); status != http.StatusBadRequest {
		t.Error("a number twice")
	}
	s.clock.forward(keyFor)
	status, o := s.call("PUT", "Invoices", "k1", body)
	if status != http.StatusBadRequest || !strings.Contains(fmt.Sprint(o), "Invoice # must be unique") {
		t.Errorf("after the window: %d %v", status, o)
	}
	if status, _ := s.call("PUT", "Invoices", strings.Repeat("k", longestKey+1), body); status != http.StatusBadRequest {
		t.Error("a long key")
	}
}

func TestSimulator_Amounts(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	for name, c := range map[string]struct{ query, amounts, lines, sub, tax, total string }{
		"TwoDecimals":  {"", "Exclusive", line, "4.02", "0.8", "4.82"},
		"FourDecimals": {"?unitdp=4", "Exclusive", line, "4.01", "0.8", "4.81"},
		"Inclusive":    {"?unitdp=4", "Inclusive", line, "3.34", "0.67", "4.01"},
		"NoTax":        {"?unitdp=4", "NoTax", line, "4.01", "0", "4.01"},
		"Discount":     {"", "Exclusive", `{"Description":"x","Quantity":1,"UnitAmount":10,"DiscountRate":33.33,"AccountCode":"200"}`, "6.67", "0", "6.67"},
		"TaxAsGiven":   {"", "Exclusive", `{"Description":"x","UnitAmount":10,"TaxAmount":1.99,"TaxType":"OUTPUT2","AccountCode":"200"}`, "10", "1.99", "11.99"},
		"Negative":     {"", "Exclusive", `{"Description":"x","Quantity":-1,"UnitAmount":1.005,"AccountCode":"200"}`, "-1.01", "0", "-1.01"},
	} {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(invoice("INV-"+name, "AUTHORISED", c.lines), `"Status"`, `"LineAmountTypes":"`+c.amounts+`","Status"`, 1)
			status, o := s.call("POST", "Invoices"+c.query, "", body)
			if status != http.StatusOK {
				t.Fatalf("%d %v", status, o)
			}
			made := o["Invoices"].([]any)[0].(object)
			if got := fmt.Sprint(made["SubTotal"], made["TotalTax"], made["Total"]); got != fmt.Sprint(num(c.sub), num(c.tax), num(c.total)) {
				t.Errorf("%s, want %s %s %s", got, c.sub, c.tax, c.total)
			}
		})
	}
}

func num(text string) (f float64) {
	_, _ = fmt.Sscan(text, &f)
	return f
}

func TestSimulator_Validation(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(c *Config) { c.LockedBefore = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC) })
	for name, c := range map[string]struct{ body, want string }{
		"LockedPeriod": {invoice("A", "AUTHORISED", line), "period lock date, currently set at 24 November 2026"},
		"NoLines":      {invoice("B", "SUBMITTED", ""), "line items"},
		"OddAccount":   {invoice("C", "SUBMITTED", `{"Description":"x","AccountCode":"999"}`), "Account code"},
		"OddTax":       {invoice("D", "DRAFT", `{"Description":"x","TaxType":"VAT"}`), "TaxType"},
		"NoContact":    {`{"Invoices":[{"Type":"ACCREC"}]}`, "Contact"},
		"OddStatus":    {invoice("E", "VOIDED", line), "cannot follow"},
		"OddDate":      {strings.Replace(invoice("F", "DRAFT", line), "2026-11-24", "24/11/2026", 1), "Date is not"},
	} {
		t.Run(name, func(t *testing.T) {
			status, o := s.call("PUT", "Invoices", "", c.body)
			if status != http.StatusBadRequest || !strings.Contains(fmt.Sprint(o), c.want) || o["Type"] != "ValidationException" {
				t.Errorf("%d %v, want %q", status, o, c.want)
			}
			status, o = s.call("PUT", "Invoices?summarizeErrors=false", "", c.body)
			if status != http.StatusOK || o["Invoices"].([]any)[0].(object)["StatusAttributeString"] != "ERROR" {
				t.Errorf("without a summary: %d %v", status, o)
			}
		})
	}
	if n := len(s.Documents("Invoices")); n != 0 {
		t.Errorf("%d invoices of what was refused", n)
	}
	if status, o := s.call("PUT", "Invoices", "", invoice("A", "DRAFT", line)); status != http.StatusOK {
		t.Errorf("a draft goes into a locked period: %d %v", status, o)
	}
}

func TestSimulator_Update(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	s.call("PUT", "Invoices", "", invoice("INV-1", "DRAFT", line+","+line))
	s.call("POST", "Invoices", "", invoice("INV-1", "AUTHORISED", line))
	all := s.Documents("Invoices")
	if len(all) != 1 || len(all[0].Lines) != 1 || all[0].Status != "AUTHORISED" {
		t.Fatalf("%+v", all)
	}
	if _, o := s.call("GET", "Invoices?InvoiceNumbers=INV-1,INV-2", "", ""); len(o["Invoices"].([]any)) != 1 {
		t.Errorf("%v", o)
	}
	if status, _ := s.call("GET", "Invoices/"+all[0].ID, "", ""); status != http.StatusOK {
		t.Error("not there by its id")
	}
	s.call("PUT", "CreditNotes", "", `{"CreditNotes":[{"Type":"ACCRECCREDIT","Contact":{"ContactID":"c1"},"CreditNoteNumber":"CN-1","Status":"AUTHORISED","LineItems":[`+line+`]}]}`)
	note := s.Documents("CreditNotes")[0]
	allocate := func(amount string) int {
		status, _ := s.call("PUT", "CreditNotes/"+note.ID+"/Allocations", "", fmt.Sprintf(`{"Allocations":[{"Amount":%s,"Invoice":{"InvoiceID":%q}}]}`, amount, all[0].ID))
		return status
	}
	if first, second := allocate("4"), allocate("4"); first != http.StatusOK || second != http.StatusBadRequest {
		t.Errorf("%d, and %d for more than is left", first, second)
	}
}

func TestSimulator_Limits(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(c *Config) { c.PerMinute, c.PerDay = 3, 5 })
	get := func() (int, http.Header) {
		status, _, header := s.do(s.request("GET", "Invoices", "", ""))
		return status, header
	}
	for range 3 {
		if status, header := get(); status != http.StatusOK || header.Get("X-MinLimit-Remaining") == "" {
			t.Fatalf("%d %v", status, header)
		}
	}
	if status, header := get(); status != http.StatusTooManyRequests || header.Get("X-Rate-Limit-Problem") != "minute" || header.Get("Retry-After") != "60" {
		t.Errorf("%d %v", status, header)
	}
	s.clock.forward(time.Minute)
	get()
	get()
	if status, header := get(); status != http.StatusTooManyRequests || header.Get("X-Rate-Limit-Problem") != "day" {
		t.Errorf("%d %v", status, header)
	}
	if s.Limited() != 2 {
		t.Errorf("%d refused", s.Limited())
	}
}

func TestSimulator_Identity(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	first := s.grant(url.Values{"grant_type": {"authorization_code"}, "code": {"code"}})["refresh_token"].(string)
	refresh := func(token string) object {
		return s.grant(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	}
	second := refresh(first)["refresh_token"].(string)
	if o := refresh(first); o["access_token"] == nil {
		t.Errorf("the one before, half an hour long: %v", o)
	}
	s.clock.forward(graceFor)
	if o := refresh(first); o["error"] != "invalid_grant" {
		t.Errorf("after that: %v", o)
	}
	if status, _ := s.call("GET", "Invoices", "", ""); status != http.StatusUnauthorized {
		t.Errorf("an access token of half an hour ago: %d", status)
	}
	s.access = refresh(second)["access_token"].(string)
	r := s.request("GET", "Invoices", "", "")
	r.Header.Del("Xero-Tenant-Id")
	if status, _, _ := s.do(r); status != http.StatusForbidden {
		t.Errorf("no organisation: %d", status)
	}
	s.Disconnect()
	if status, _ := s.call("GET", "Invoices", "", ""); status != http.StatusUnauthorized {
		t.Errorf("disconnected: %d", status)
	}
}

func TestSimulator_Faults(t *testing.T) {
	t.Parallel()
	for fault, effects := range map[Fault]int{Unavailable: 0, Reset: 0, ResetAfter: 1, InternalAfter: 1} {
		s := newShop(t, func(c *Config) { c.Fault = func(int, string, string) Fault { return fault } })
		response, err := http.DefaultClient.Do(s.request("PUT", "Invoices", "", invoice("INV-1", "DRAFT", line)))
		if err == nil {
			response.Body.Close()
		}
		if n := len(s.Documents("Invoices")); n != effects {
			t.Errorf("fault %d: %d invoices, want %d", fault, n, effects)
		}
	}
}

func TestSimulator_Contacts(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	s.call("POST", "Contacts", "", `{"Contacts":[{"Name":"Budi","ContactNumber":"42"}]}`)
	s.call("POST", "Contacts", "", `{"Contacts":[{"Name":"Budi","ContactNumber":"42"}]}`)
	if n := len(s.Contacts()); n != 2 {
		t.Errorf("%d contacts, want Ani and one Budi", n)
	}
	if _, o := s.call("GET", "Contacts?where="+url.QueryEscape(`ContactNumber=="42"`), "", ""); len(o["Contacts"].([]any)) != 1 {
		t.Errorf("%v", o)
	}
	if status, _ := s.call("POST", "Contacts", "", `{"Contacts":[{}]}`); status != http.StatusBadRequest {
		t.Errorf("nobody: %d", status)
	}
}
