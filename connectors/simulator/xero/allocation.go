package xero

import (
	"encoding/json"
	"math/big"
	"net/http"
	"slices"
)

// allocate sets a credit note off against invoices: never more than either has left.
func (s *Simulator) allocate(id string, body []byte) reply {
	var given struct {
		Allocations []struct {
			Amount  json.Number
			Invoice struct{ InvoiceID string }
		}
	}
	note := s.books["CreditNotes"].byID[id]
	if note == nil {
		return reply{http.StatusNotFound, map[string]any{"Title": "NotFound", "Status": 404}}
	}
	no := func(message string) reply {
		return reply{http.StatusBadRequest, map[string]any{
			"ErrorNumber": 10, "Type": "ValidationException", "Message": "A validation exception occurred",
			"Elements": []any{map[string]any{"ValidationErrors": []any{map[string]any{"Message": message}}}},
		}}
	}
	if json.Unmarshal(body, &given) != nil || len(given.Allocations) == 0 {
		return no("Allocations must be specified")
	}
	total := note.allocated()
	var made []Allocation
	for _, a := range given.Allocations {
		invoice := s.books["Invoices"].byID[a.Invoice.InvoiceID]
		amount, err := parseDecimal(a.Amount.String())
		switch {
		case invoice == nil || invoice.Status != "AUTHORISED" || note.Status != "AUTHORISED":
			return no("Only approved documents can be allocated")
		case err != nil || amount.Sign() <= 0 || amount.Cmp(invoice.Total) > 0:
			return no("Amount is not valid")
		}
		total.Add(total, amount)
		made = append(made, Allocation{newID(), invoice.ID, amount})
	}
	if total.Cmp(note.Total) > 0 {
		return no("The amount is more than the remaining credit")
	}
	// What others were given of the note stays as it was.
	changed := *note
	changed.Allocated, changed.Allocations = total, append(slices.Clip(note.Allocations), made...)
	s.books["CreditNotes"].put(&changed)
	return reply{http.StatusOK, map[string]any{"Status": "OK", "Allocations": (&Document{Allocations: made}).allocations()}}
}

// allocated is what of a credit note is set off; never nil.
func (d *Document) allocated() *big.Rat {
	if d.Allocated == nil {
		return new(big.Rat)
	}
	return new(big.Rat).Set(d.Allocated)
}

// allocations are those of a credit note, as the platform writes them.
func (d *Document) allocations() []any {
	all := []any{}
	for _, a := range d.Allocations {
		all = append(all, map[string]any{"AllocationID": a.ID, "Amount": exact(a.Amount, 2), "Invoice": map[string]any{"InvoiceID": a.Invoice}})
	}
	return all
}
