package recipe_test

import (
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/connectortest"
	"raffsync/connectors/simulator/xero"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const periodClosed = raffsyncv1.OutcomeKind_OUTCOME_KIND_PERIOD_CLOSED

// xeroShop is an organisation that the recipe is connected to.
type xeroShop struct {
	shipped
	*xero.Simulator
	url string
}

func newXero(t testing.TB, change ...func(*xero.Config)) *xeroShop {
	t.Helper()
	c := xero.Config{OAuth: xero.OAuth{ClientID: "client", ClientSecret: token, Code: "code"}, TaxRates: map[string]string{"NONE": "0", "tax-VAT": "0.1"}}
	for _, one := range change {
		one(&c)
	}
	sim, err := xero.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	x := &xeroShop{Simulator: sim, url: server.URL}
	x.shipped = shipped{recipe: "xero", connections: &auth.Memory{}, tables: map[string]string{"tax/VAT": "tax-VAT"}}
	x.settings = x.at(server.URL + "/api.xro/2.0")
	connector := x.build(t).(auth.Authenticated).Authenticator().(auth.Connector)
	consent, err := connector.Consent("http://127.0.0.1:1/callback")
	if err != nil {
		t.Fatal(err)
	}
	given, err := connector.Exchange(t.Context(), consent, "code")
	if err != nil {
		t.Fatal(err)
	}
	claim, err := x.connections.Claim(t.Context(), 0, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.connections.Save(t.Context(), claim, given); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, server.URL, nil)
	if err := connector.Authorize(t.Context(), r); err != nil || r.Header.Get("Xero-Tenant-Id") == "" {
		t.Fatalf("authorised with %v, %v", r.Header, err)
	}
	return x
}

// at puts the accounting API at a URL, while the tokens stay where they are.
func (x *xeroShop) at(url string) map[string]any {
	return map[string]any{
		"settings": map[string]any{"url": url},
		"auth": map[string]any{
			"client_id": "client", "client_secret": "env:TOKEN", "authorize_url": x.url + "/authorize", "token_url": x.url + "/connect/token",
			"after": []any{map[string]any{"method": "GET", "url": x.url + "/connections", "variables": map[string]any{"tenant": "0.tenantId"}}},
		},
	}
}

// xeroRefusal is an answer of Xero's validation.
func xeroRefusal(message string) string {
	return fmt.Sprintf(`{"ErrorNumber": 10, "Type": "ValidationException", "Message": "A validation exception occurred", "Elements": [{"ValidationErrors": [{"Message": %q}]}]}`, message)
}

func xeroHarnesses(t *testing.T) map[string]connectortest.Harness {
	x := newXero(t)
	x.tables = nil
	answer := func(name string, status int, body string, kind raffsyncv1.OutcomeKind) connectortest.Answer {
		return connectortest.Answer{Name: name, Status: status, Body: body, Want: connectors.Outcome{Kind: kind}}
	}
	refused := func(message string, kind raffsyncv1.OutcomeKind) connectortest.Answer {
		return connectortest.Answer{Name: message, Status: 400, Body: xeroRefusal(message), Want: connectors.Outcome{Kind: kind, Code: "ValidationException"}}
	}
	limited := func(problem string, kind raffsyncv1.OutcomeKind) connectortest.Answer {
		return connectortest.Answer{
			Name: "429 " + problem, Status: 429, Header: map[string]string{"X-Rate-Limit-Problem": problem, "Retry-After": "7"},
			Want: connectors.Outcome{Kind: kind, Code: problem, RetryAfter: 7 * time.Second},
		}
	}
	invoice := x.harness(t, "invoice.create", neutralOrder, x.at, connectortest.Harness{
		Secrets: []string{token},
		Key:     func(r *http.Request, _ []byte) string { return r.Header.Get("Idempotency-Key") },
		Success: connectortest.Answer{Status: 200, Body: `{"Status": "OK", "Invoices": [{"InvoiceID": "i-1"}]}`},
		Healthy: &connectortest.Answer{Status: 200, Body: `{"Status": "OK", "Invoices": []}`},
		Check:   checkXeroInvoice,
		Answers: []connectortest.Answer{
			{
				Name: "an invoice", Status: 200, Body: `{"Status": "OK", "Invoices": [{"InvoiceID": "i-1", "InvoiceNumber": "N", "Total": 28.46, "Contact": {"ContactID": "p-1"}, "LineItems": [{"LineItemID": "l-0"}]}]}`,
				Want: connectors.Outcome{
					Kind: delivered, ExternalID: "i-1", URL: "https://go.xero.com/app/invoicing/view/i-1",
					Fields: map[string]string{"number": "N", "total": "28.46", "contact": "p-1", "line_0": "l-0"},
				},
			},
			answer("nothing of Xero's", 200, "<html>", unknown),
			answer("503", 503, "", transient),
			answer("401", 401, "", authExpired),
			answer("403", 403, `{"Title": "Forbidden", "Detail": "AuthenticationUnsuccessful"}`, raffsyncv1.OutcomeKind_OUTCOME_KIND_PERMISSION),
			answer("404", 404, "", raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE),
			answer("a key with another body", 400, `{"ErrorNumber": 16, "Message": "The Idempotency-Key header was used before"}`, raffsyncv1.OutcomeKind_OUTCOME_KIND_KEY_MISUSE),
			answer("418", 418, "", unclassed),
			limited("minute", rateLimited), limited("concurrent", rateLimited), limited("day", raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA),
			refused("The document date cannot be before the period lock date, currently set at 1 May 2026", periodClosed),
			refused("Invoice # must be unique.", duplicate),
			refused("Account code '9' is not a valid code for this document.", raffsyncv1.OutcomeKind_OUTCOME_KIND_TAX_OUTLET_RULE),
			refused("The quantity on hand is not enough", raffsyncv1.OutcomeKind_OUTCOME_KIND_STOCK_CONFLICT),
			refused("Description is required", validation),
		},
		Questions: []connectortest.Question{
			{Name: "none", Status: 200, Body: `{"Status": "OK", "Invoices": []}`, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE}},
			{Name: "another", Status: 200, Body: `{"Invoices": [{"InvoiceNumber": "x"}]}`, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE}},
			{Name: "not Xero", Status: 200, Body: `<html>`, WantOutcome: connectors.Outcome{Kind: unknown}},
			{Name: "404", Status: 404, WantOutcome: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE}},
			{Name: "500", Status: 500, WantOutcome: connectors.Outcome{Kind: transient}},
		},
		QuestionFound: func(r *http.Request) connectortest.Question {
			number := r.URL.Query().Get("InvoiceNumbers")
			return connectortest.Question{
				Status: 200, Body: fmt.Sprintf(`{"Invoices": [{"InvoiceID": "i-1", "InvoiceNumber": %q, "Total": 9}]}`, number), Want: connectors.Found,
				WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "i-1", URL: "https://go.xero.com/app/invoicing/view/i-1", Fields: map[string]string{"number": number, "total": "9"}},
			}
		},
		CheckQuestion: func(r *http.Request, body []byte, _ connectors.Step) error {
			if r.Method != http.MethodGet || len(body) > 0 || r.URL.Path != "/Invoices" || !isReference(r.URL.Query().Get("InvoiceNumbers"), 30) {
				return fmt.Errorf("%s %s", r.Method, r.URL)
			}
			return nil
		},
	})
	note := invoice
	note.Healthy, note.Check, note.QuestionFound, note.CheckQuestion = nil, nil, nil, nil
	note.Success = connectortest.Answer{Status: 200, Body: `{"Status": "OK", "CreditNotes": [{"CreditNoteID": "c-1"}]}`}
	note.Answers = append([]connectortest.Answer{{
		Name: "a credit note", Status: 200, Body: `{"Status": "OK", "CreditNotes": [{"CreditNoteID": "c-1", "CreditNoteNumber": "N", "Total": 3.67}]}`,
		Want: connectors.Outcome{Kind: delivered, ExternalID: "c-1", Fields: map[string]string{"number": "N", "total": "3.67"}},
	}}, invoice.Answers[1:]...)
	note.Questions = []connectortest.Question{
		{Name: "404", Status: 404, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE}},
		{Name: "another", Status: 200, Body: `{"CreditNotes": [{"CreditNoteNumber": "x"}]}`, WantOutcome: connectors.Outcome{Kind: unknown}},
		{Name: "not Xero", Status: 200, Body: `<html>`, WantOutcome: connectors.Outcome{Kind: unknown}},
	}
	note.QuestionFound = func(r *http.Request) connectortest.Question {
		number := strings.TrimPrefix(r.URL.Path, "/CreditNotes/")
		return connectortest.Question{
			Status: 200, Body: fmt.Sprintf(`{"CreditNotes": [{"CreditNoteID": "c-1", "CreditNoteNumber": %q}]}`, number), Want: connectors.Found,
			WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "c-1", Fields: map[string]string{"number": number}},
		}
	}
	contact := note
	contact.Repeatable, contact.Questions, contact.QuestionFound = true, nil, nil
	contact.Success = connectortest.Answer{Status: 200, Body: `{"Status": "OK", "Contacts": [{"ContactID": "p-1"}]}`}
	contact.Answers = append([]connectortest.Answer{{
		Name: "a contact", Status: 200, Body: `{"Status": "OK", "Contacts": [{"ContactID": "p-1", "Name": "Ani"}]}`,
		Want: connectors.Outcome{Kind: delivered, ExternalID: "p-1", URL: "https://go.xero.com/app/contacts/contact/p-1", Fields: map[string]string{"name": "Ani"}},
	}}, invoice.Answers[1:]...)
	return map[string]connectortest.Harness{
		"invoice.create": invoice, "credit-note.create": x.harness(t, "credit-note.create", neutralRefund, x.at, note),
		"contact.save": x.harness(t, "contact.save", neutralCustomer, x.at, contact),
	}
}

func checkXeroInvoice(r *http.Request, body []byte, step connectors.Step) error {
	o, err := decoded(body)
	if err != nil {
		return err
	}
	switch {
	case r.Method != http.MethodPut || r.URL.Path != "/Invoices" || r.URL.Query().Get("unitdp") != "4":
		return fmt.Errorf("%s %s", r.Method, r.URL)
	case r.Header.Get("Xero-Tenant-Id") == "" || len(r.Header.Get("Idempotency-Key")) > 128:
		return errors.New("no organisation, or a key that is too long")
	case !connectortest.Plain(step.Event) && len(o["Invoices"].([]any)) != 1:
		return fmt.Errorf("%s", body)
	}
	return nil
}

func TestShippedXero_Documents(t *testing.T) {
	t.Parallel()
	x := newXero(t)
	d := x.build(t)
	made := x.sent(t, d, "invoice.create", "invoice/1042", of(neutralOrder, "1042"))
	invoices := x.Documents("Invoices")
	if len(invoices) != 1 || made.ExternalID != invoices[0].ID || made.Fields["line_2"] != invoices[0].Lines[2].ID {
		t.Fatalf("%+v, %+v", made, invoices)
	}
	// 3 × 3.335 − 0.50 is 9.505, which Xero rounds to 9.51; and 7, and 10, and the taxes as
	// they were given.
	i := invoices[0]
	if got := i.SubTotal.FloatString(2) + " " + i.TotalTax.FloatString(2) + " " + i.Total.FloatString(2); got != "26.51 1.95 28.46" || i.Reference != "1042" || i.Status != "AUTHORISED" {
		t.Errorf("%s, %+v", got, i)
	}

	// Updated, the lines keep their ids.
	changed := strings.Replace(of(neutralOrder, "1042"), `"price": "7"`, `"price": "8"`, 1)
	x.sent(t, d, "invoice.create", "invoice/1042", changed, connectors.Receipt{ExternalID: made.ExternalID, Fields: made.Fields})
	if again := x.Documents("Invoices"); len(again) != 1 || again[0].Total.Cmp(big.NewRat(2946, 100)) != 0 || again[0].Lines[1].ID != i.Lines[1].ID {
		t.Errorf("updated: %+v", again)
	}

	// The same by the number, for those who have no receipt.
	for range 2 {
		x.sent(t, d, "invoice.update", "invoice/1042", of(neutralOrder, "1042"))
	}
	if again := x.Documents("Invoices"); len(again) != 1 || again[0].Total.Cmp(i.Total) != 0 {
		t.Errorf("updated by the number: %+v", again)
	}

	found := x.sent(t, d, "invoice.get", "invoice/1042", `{}`)
	if found.ExternalID != made.ExternalID {
		t.Errorf("got %+v", found)
	}
	if o := d.Send(t.Context(), x.prepared(t, d, "invoice.get", "invoice/7", `{}`)); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE {
		t.Errorf("an invoice that is not there: %+v", o)
	}

	note := x.sent(t, d, "credit-note.create", "refund/1", of(neutralRefund, "1042-R1"))
	x.receipts = map[string]connectors.Receipt{
		"credit_note": {ExternalID: note.ExternalID, Fields: note.Fields}, "invoice": {ExternalID: found.ExternalID, Fields: found.Fields},
	}
	request := x.prepared(t, d, "credit-note.allocate", "allocation/1", `{}`)
	reconciled(t, d, request, connectors.Absent)
	if o := d.Send(t.Context(), request); o.Kind != delivered {
		t.Errorf("set off: %+v", o)
	}
	reconciled(t, d, request, connectors.Found)
	notes := x.Documents("CreditNotes")
	if len(notes) != 1 || notes[0].Total.FloatString(2) != "3.67" || notes[0].Allocated.FloatString(2) != "3.67" {
		t.Errorf("%+v", notes)
	}

	for range 2 {
		x.sent(t, d, "contact.save", "customer/C-9", of(neutralCustomer, "C-9"))
	}
	if all := x.Contacts(); len(all) != 2 { // with the one of the invoice's name
		t.Errorf("%+v", all)
	}
	if err := d.(connectors.Checker).Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
}

// One who has several organisations says which.
func TestShippedXero_Organisation(t *testing.T) {
	t.Parallel()
	x := newXero(t, func(c *xero.Config) { c.Tenant = "second" })
	given := x.settings["auth"].(map[string]any)
	given["after"], given["headers"] = []any{}, map[string]any{"xero-tenant-id": "second"}
	x.sent(t, x.build(t), "invoice.create", "invoice/1", of(neutralOrder, "1"))
	given["headers"] = map[string]any{"xero-tenant-id": "first"}
	d := x.build(t)
	if o := d.Send(t.Context(), x.prepared(t, d, "invoice.create", "invoice/2", of(neutralOrder, "2"))); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_PERMISSION {
		t.Errorf("another organisation: %+v", o)
	}
}

// What Xero commits and does not answer is found there and not made again; what it did not
// commit is.
func TestShippedXero_OneEffect(t *testing.T) {
	t.Parallel()
	for fault, want := range map[xero.Fault]connectors.Finding{
		xero.ResetAfter: connectors.Found, xero.InternalAfter: connectors.Found, xero.Reset: connectors.Absent, xero.Unavailable: connectors.Absent,
	} {
		first := true
		x := newXero(t, func(c *xero.Config) {
			c.Fault = func(_ int, method, _ string) xero.Fault {
				if method == http.MethodPut && first {
					first = false
					return fault
				}
				return xero.None
			}
		})
		d := x.build(t)
		for _, c := range []struct{ call, effect, data, book string }{
			{"invoice.create", "invoice/1", neutralOrder, "Invoices"}, {"credit-note.create", "refund/1", neutralRefund, "CreditNotes"},
		} {
			first = true
			request := x.prepared(t, d, c.call, c.effect, of(c.data, "1"))
			if o := d.Send(t.Context(), request); o.Kind != unknown && o.Kind != transient {
				t.Fatalf("fault %d: %s, %s", fault, o.Kind, o.Reason)
			}
			if found := reconciled(t, d, request, want); want == connectors.Found {
				if id := x.Documents(c.book)[0].ID; found.ExternalID != id {
					t.Errorf("fault %d: found %q, want %q", fault, found.ExternalID, id)
				}
			} else {
				x.sent(t, d, c.call, c.effect, of(c.data, "1"))
			}
			if n := len(x.Documents(c.book)); n != 1 {
				t.Errorf("fault %d, %s: %d documents", fault, c.call, n)
			}
		}
	}
}

func TestShippedXero_Refusals(t *testing.T) {
	t.Parallel()
	x := newXero(t, func(c *xero.Config) {
		c.LockedBefore, c.PerMinute = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), 7
	})
	d := x.build(t)
	send := func(effect, data string) connectors.Outcome {
		return d.Send(t.Context(), x.prepared(t, d, "invoice.create", effect, data))
	}
	good := of(neutralOrder, "1")
	if o := send("invoice/1", good); o.Kind != delivered {
		t.Fatalf("%+v", o)
	}
	if o := send("invoice/1", strings.Replace(good, "Latte", "Tea", 1)); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_KEY_MISUSE {
		t.Errorf("the key with another body: %+v", o)
	}
	if o := send("invoice/2", strings.Replace(good, "2026-11-24", "2026-11-23", 1)); o.Kind != periodClosed {
		t.Errorf("a locked period: %+v", o)
	}
	x.settings["settings"].(map[string]any)["account"] = "999"
	d = x.build(t)
	if o := send("invoice/3", good); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_TAX_OUTLET_RULE {
		t.Errorf("an account that is not there: %+v", o)
	}
	x.tables = map[string]string{"tax/VAT": "ODD"}
	if o := send("invoice/4", good); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_TAX_OUTLET_RULE {
		t.Errorf("a tax that is not there: %+v", o)
	}
	send("invoice/5", good)
	send("invoice/6", good)
	if o := send("invoice/7", good); o.Kind != rateLimited || o.RetryAfter < 50*time.Second {
		t.Errorf("too many: %+v", o)
	}
	x.Disconnect()
	if o := send("invoice/8", good); o.Kind != authExpired {
		t.Errorf("disconnected: %+v", o)
	}
	if o := send("invoice/9", good); o.Kind != authRevoked {
		t.Errorf("disconnected, and asked to renew: %+v", o)
	}
	x.tables = map[string]string{}
	step := connectors.Step{Event: &connectors.Event{Data: []byte(good)}, Effect: "invoice/1"}
	x.complete(t, d, &step, "invoice.create", "")
	_, err := d.Prepare(step)
	var e *connectors.PrepareError
	if !errors.As(err, &e) || len(e.Missing) != 1 || e.Missing[0].Table != "tax" || e.Missing[0].Value != "VAT" {
		t.Errorf("a tax without a counterpart: %v", err)
	}
}
