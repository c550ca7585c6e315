package xero

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Document is an invoice or a credit note.
type Document struct {
	ID, Number, Reference, Contact string
	Type, Status, LineAmountTypes  string
	Currency                       string
	Date, Due                      time.Time
	Lines                          []Line
	SubTotal, TotalTax, Total      *big.Rat
	Allocated                      *big.Rat // of a credit note
	Allocations                    []Allocation
}

// Line of a document.
type Line struct {
	ID, Description, Account, TaxType, Item string
	Quantity, Unit, Discount                *big.Rat // Discount in per cent
	Off                                     *big.Rat // a discount as an amount
	Tax, Amount                             *big.Rat
}

// Allocation of a credit note to an invoice.
type Allocation struct {
	ID, Invoice string
	Amount      *big.Rat
}

// book holds the documents of a kind.
type book struct {
	byID     map[string]*Document
	byNumber map[string]*Document
	order    []string
}

func newBook() *book {
	return &book{byID: make(map[string]*Document), byNumber: make(map[string]*Document)}
}

// input is a document as a caller writes it.
type input struct {
	InvoiceID, InvoiceNumber       string
	CreditNoteID, CreditNoteNumber string
	Type, Status, LineAmountTypes  string
	Reference, CurrencyCode        string
	Date, DueDate                  string
	Contact                        *struct{ ContactID, ContactNumber, Name string }
	LineItems                      *[]struct {
		LineItemID, Description, AccountCode, TaxType, ItemCode string
		Quantity, UnitAmount, TaxAmount                         json.Number
		DiscountRate, DiscountAmount                            json.Number
	}
}

// kindOf says how a kind of document is called.
type kindOf struct{ plural, kind, prefix string }

var kindsOf = map[string]kindOf{
	"Invoices":    {"Invoices", "ACCREC", "INV-"},
	"CreditNotes": {"CreditNotes", "ACCRECCREDIT", "CN-"},
}

// saveAll makes or changes the documents of a request: all of them, or, where the caller
// does not want a summary, those that are well.
func (s *Simulator) saveAll(path []string, r *http.Request, body []byte) reply {
	kind := kindsOf[path[0]]
	var given map[string]json.RawMessage
	var inputs []input
	if json.Unmarshal(body, &given) != nil {
		return reply{http.StatusBadRequest, map[string]any{"ErrorNumber": 17, "Type": "PostDataInvalidException", "Message": "The post data is not valid JSON"}}
	}
	if list, ok := given[kind.plural]; ok {
		if json.Unmarshal(list, &inputs) != nil {
			return reply{http.StatusBadRequest, map[string]any{"ErrorNumber": 17, "Type": "PostDataInvalidException", "Message": "The post data is not valid"}}
		}
	} else {
		var one input
		if json.Unmarshal(body, &one) != nil {
			return reply{http.StatusBadRequest, map[string]any{"ErrorNumber": 17, "Type": "PostDataInvalidException", "Message": "The post data is not valid"}}
		}
		inputs = []input{one}
	}
	each := r.URL.Query().Get("summarizeErrors") == "false"
	unitDecimals := 2
	if r.URL.Query().Get("unitdp") == "4" {
		unitDecimals = 4
	}
	made := make([]*Document, len(inputs))
	problems := make([][]string, len(inputs))
	wrong := 0
	for i, in := range inputs {
		id := ""
		if len(path) == 2 {
			id = path[1]
		}
		made[i], problems[i] = s.draft(path[0], id, in, r.Method == http.MethodPut, unitDecimals)
		if len(problems[i]) > 0 {
			wrong++
		}
	}
	elements := make([]any, len(inputs))
	for i := range inputs {
		if len(problems[i]) == 0 && (each || wrong == 0) {
			s.books[path[0]].put(made[i])
		}
		elements[i] = made[i].show(kind, problems[i], each)
	}
	if wrong > 0 && !each {
		return reply{http.StatusBadRequest, map[string]any{
			"ErrorNumber": 10, "Type": "ValidationException", "Message": "A validation exception occurred", "Elements": elements,
		}}
	}
	return reply{http.StatusOK, map[string]any{"Id": newID(), "Status": "OK", kind.plural: elements}}
}

func (b *book) put(d *Document) {
	if old := b.byID[d.ID]; old == nil {
		b.order = append(b.order, d.ID)
	} else {
		delete(b.byNumber, old.Number)
	}
	b.byID[d.ID], b.byNumber[d.Number] = d, d
}

// draft is what a document would be, and what is wrong with it.
func (s *Simulator) draft(path, id string, in input, create bool, unitDecimals int) (*Document, []string) {
	b, kind := s.books[path], kindsOf[path]
	number := in.InvoiceNumber
	id = cmp.Or(id, in.InvoiceID)
	if path == "CreditNotes" {
		number, id = in.CreditNoteNumber, cmp.Or(id, in.CreditNoteID)
	}
	var problems []string
	say := func(format string, arguments ...any) { problems = append(problems, fmt.Sprintf(format, arguments...)) }
	old := b.byID[id]
	switch {
	case id != "" && old == nil:
		say("The document with that ID could not be found")
	case old == nil && number != "" && b.byNumber[number] != nil && create:
		say("Invoice # must be unique.")
	case old == nil && number != "":
		old = b.byNumber[number] // POST overwrites it; nil where it is new
	}
	d := &Document{ID: newID(), Type: kind.kind, Status: "DRAFT", LineAmountTypes: "Exclusive", Currency: "GBP", Date: s.now().UTC().Truncate(24 * time.Hour)}
	if old != nil {
		*d = *old
	}
	d.Number = cmp.Or(number, d.Number, fmt.Sprintf("%s%04d", kind.prefix, len(b.order)+1))
	d.Reference, d.Currency = cmp.Or(in.Reference, d.Reference), cmp.Or(in.CurrencyCode, d.Currency)
	d.LineAmountTypes = cmp.Or(in.LineAmountTypes, d.LineAmountTypes)
	if in.Type != "" && in.Type != kind.kind {
		say("The Type %q is not one that this simulator knows", in.Type)
	}
	if in.Contact != nil {
		d.Contact = s.contactOf(in.Contact.ContactID, in.Contact.ContactNumber, in.Contact.Name)
	}
	if d.Contact == "" {
		say("A Contact must be specified for this type of transaction")
	}
	for _, at := range []struct {
		name, text string
		into       *time.Time
	}{{"Date", in.Date, &d.Date}, {"DueDate", in.DueDate, &d.Due}} {
		if at.text == "" {
			continue
		}
		parsed, err := parseDate(at.text)
		if err != nil {
			say("%s is not a valid date", at.name)
		}
		*at.into = parsed
	}
	if in.LineItems != nil {
		d.Lines = nil
		for _, l := range *in.LineItems {
			line, problem := s.line(Line{ID: cmp.Or(l.LineItemID, newID()), Description: l.Description, Account: l.AccountCode, TaxType: l.TaxType, Item: l.ItemCode},
				amounts{l.Quantity, l.UnitAmount, l.TaxAmount, l.DiscountRate, l.DiscountAmount}, d.LineAmountTypes, unitDecimals)
			if kind.kind == "ACCRECCREDIT" && (l.DiscountRate != "" || l.DiscountAmount != "") {
				problem = "Discounts are not supported on this type of document"
			}
			if problem != "" {
				say("%s", problem)
			}
			d.Lines = append(d.Lines, line)
		}
	}
	problems = append(problems, s.advance(d, old, in.Status)...)
	d.sum()
	return d, problems
}

// moves are the statuses that a document may go to.
var moves = map[string][]string{
	"DRAFT":      {"DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"},
	"SUBMITTED":  {"SUBMITTED", "DRAFT", "AUTHORISED", "DELETED"},
	"AUTHORISED": {"AUTHORISED", "VOIDED"},
}

// advance moves the document to the status that is wanted, and says what is in its way.
func (s *Simulator) advance(d, old *Document, wanted string) (problems []string) {
	from := "DRAFT"
	if old != nil {
		from = old.Status
	}
	wanted = cmp.Or(wanted, from)
	if !slices.Contains(moves[from], wanted) {
		problems = append(problems, fmt.Sprintf("The status %q cannot follow %q", wanted, from))
	}
	d.Status = wanted
	if wanted != "AUTHORISED" && wanted != "SUBMITTED" {
		return problems
	}
	if len(d.Lines) == 0 {
		problems = append(problems, "One or more line items must be specified")
	}
	for _, l := range d.Lines {
		if !s.accounts[l.Account] {
			problems = append(problems, fmt.Sprintf("Account code %q is not a valid code for this document.", l.Account))
		}
	}
	if d.Due.IsZero() && d.Type == "ACCREC" {
		problems = append(problems, "The DueDate must be specified")
	}
	if wanted == "AUTHORISED" && d.Date.Before(s.config.LockedBefore) {
		problems = append(problems, "The document date cannot be before the period lock date, currently set at "+s.config.LockedBefore.AddDate(0, 0, -1).Format("2 January 2006"))
	}
	return problems
}

// find answers one document, or those of some numbers.
func (s *Simulator) find(path []string, query url.Values) reply {
	b, kind := s.books[path[0]], kindsOf[path[0]]
	var found []*Document
	switch {
	case len(path) == 2:
		d := cmp.Or(b.byID[path[1]], b.byNumber[path[1]])
		if d == nil {
			return reply{http.StatusNotFound, map[string]any{"Title": "NotFound", "Status": 404}}
		}
		found = append(found, d)
	default:
		numbers := strings.Split(query.Get("InvoiceNumbers"), ",")
		for _, id := range b.order {
			if query.Get("InvoiceNumbers") == "" || slices.Contains(numbers, b.byID[id].Number) {
				found = append(found, b.byID[id])
			}
		}
	}
	elements := []any{}
	for _, d := range found {
		elements = append(elements, d.show(kind, nil, false))
	}
	return reply{http.StatusOK, map[string]any{"Status": "OK", kind.plural: elements}}
}

// Documents of a kind ("Invoices", "CreditNotes"), in the order in which they came.
func (s *Simulator) Documents(path string) []Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Document
	if b := s.books[path]; b != nil {
		for _, id := range b.order {
			all = append(all, *b.byID[id])
		}
	}
	return all
}

var netDate = regexp.MustCompile(`^/Date\((-?\d{1,15})([+-]\d{4})?\)/$`)

// parseDate takes a day, a moment, or what JSON makes of one in .NET.
func parseDate(text string) (time.Time, error) {
	if parts := netDate.FindStringSubmatch(text); parts != nil {
		var ms int64
		_, err := fmt.Sscan(parts[1], &ms)
		return time.UnixMilli(ms).UTC(), err
	}
	day, _, _ := strings.Cut(text, "T")
	return time.Parse(time.DateOnly, day)
}
