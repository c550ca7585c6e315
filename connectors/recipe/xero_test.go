package recipe_test

import (
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/simulator/xero"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

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
