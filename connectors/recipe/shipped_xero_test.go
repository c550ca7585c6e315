package recipe_test

import (
	"errors"
	"fmt"
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
