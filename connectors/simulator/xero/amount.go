package xero

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"time"
)

var decimalForm = regexp.MustCompile(`^-?\d{1,15}(\.\d{1,10})?$`)

func parseDecimal(text string) (*big.Rat, error) {
	if !decimalForm.MatchString(text) {
		return nil, fmt.Errorf("xero: %q is no decimal number", text)
	}
	r, _ := new(big.Rat).SetString(text) // its form was looked at
	return r, nil
}

// rounded to so many decimals, halves away from zero.
func rounded(r *big.Rat, decimals int) *big.Rat {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
	n := new(big.Int).Mul(r.Num(), scale)
	n.Mul(n, big.NewInt(2))
	d := new(big.Int).Mul(r.Denom(), big.NewInt(2))
	if n.Sign() >= 0 {
		n.Add(n, r.Denom())
	} else {
		n.Sub(n, r.Denom())
	}
	return new(big.Rat).SetFrac(n.Quo(n, d), scale)
}

func exact(r *big.Rat, decimals int) json.Number {
	if r == nil {
		r = new(big.Rat)
	}
	s := r.FloatString(decimals)
	if strings.Contains(s, ".") {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	return json.Number(s)
}

// amounts of a line as a caller writes them.
type amounts struct{ quantity, unit, tax, discount, off json.Number }

// line works out what a line comes to: quantity × unit amount, less the discount in per
// cent or as an amount, to two decimals; and its tax, unless the caller says.
func (s *Simulator) line(l Line, given amounts, kind string, unitDecimals int) (Line, string) {
	number := func(given json.Number, otherwise string) *big.Rat {
		if given == "" {
			given = json.Number(otherwise)
		}
		r, err := parseDecimal(given.String())
		if err != nil {
			return nil
		}
		return r
	}
	l.Quantity, l.Unit = number(given.quantity, "1"), number(given.unit, "0")
	l.Discount, l.Off = number(given.discount, "0"), number(given.off, "0")
	if l.Quantity == nil || l.Unit == nil || l.Discount == nil || l.Off == nil {
		l.Amount, l.Tax = new(big.Rat), new(big.Rat)
		return l, "A line's amounts must be decimal numbers"
	}
	l.Quantity, l.Unit = rounded(l.Quantity, 4), rounded(l.Unit, unitDecimals)
	l.Amount = new(big.Rat).Mul(l.Quantity, l.Unit)
	left := new(big.Rat).Sub(big.NewRat(1, 1), new(big.Rat).Quo(l.Discount, big.NewRat(100, 1)))
	l.Amount = rounded(l.Amount.Sub(l.Amount.Mul(l.Amount, left), l.Off), 2)
	l.Tax = new(big.Rat)
	switch {
	case l.Description == "":
		return l, "Description is required"
	case kind == "NoTax":
		return l, ""
	case l.TaxType == "":
		l.TaxType = "NONE"
	}
	rate := s.rates[l.TaxType]
	if rate == nil {
		return l, fmt.Sprintf("The TaxType code %q does not exist or cannot be used for this type of transaction.", l.TaxType)
	}
	if given.tax != "" {
		tax := number(given.tax, "0")
		if tax == nil {
			return l, "A line's tax must be a decimal number"
		}
		l.Tax = rounded(tax, 2)
		return l, ""
	}
	l.Tax.Mul(l.Amount, rate)
	if kind == "Inclusive" {
		l.Tax.Quo(l.Tax, new(big.Rat).Add(big.NewRat(1, 1), rate))
	}
	l.Tax = rounded(l.Tax, 2)
	return l, ""
}

// sum works out the totals.
func (d *Document) sum() {
	lines, tax := new(big.Rat), new(big.Rat)
	for _, l := range d.Lines {
		lines.Add(lines, l.Amount)
		tax.Add(tax, l.Tax)
	}
	d.TotalTax = tax
	if d.LineAmountTypes == "Inclusive" {
		d.Total, d.SubTotal = lines, new(big.Rat).Sub(lines, tax)
		return
	}
	d.SubTotal, d.Total = lines, new(big.Rat).Add(lines, tax)
}

// show is the document as the platform writes it.
func (d *Document) show(kind kindOf, problems []string, each bool) map[string]any {
	singular := strings.TrimSuffix(kind.plural, "s")
	lines := []any{}
	for _, l := range d.Lines {
		lines = append(lines, map[string]any{
			"LineItemID": l.ID, "Description": l.Description, "Quantity": exact(l.Quantity, 4), "UnitAmount": exact(l.Unit, 4),
			"LineAmount": exact(l.Amount, 2), "TaxAmount": exact(l.Tax, 2), "TaxType": l.TaxType, "AccountCode": l.Account, "ItemCode": l.Item,
		})
	}
	o := map[string]any{
		singular + "ID": d.ID, singular + "Number": d.Number, "Type": d.Type, "Status": d.Status, "Reference": d.Reference,
		"Contact": map[string]any{"ContactID": d.Contact}, "LineAmountTypes": d.LineAmountTypes, "LineItems": lines, "CurrencyCode": d.Currency,
		"SubTotal": exact(d.SubTotal, 2), "TotalTax": exact(d.TotalTax, 2), "Total": exact(d.Total, 2),
		"Date": netTime(d.Date), "DateString": d.Date.Format("2006-01-02T15:04:05"), "HasErrors": len(problems) > 0,
	}
	if !d.Due.IsZero() {
		o["DueDate"] = netTime(d.Due)
	}
	if d.Type == kindsOf["CreditNotes"].kind {
		o["Allocations"], o["RemainingCredit"] = d.allocations(), exact(new(big.Rat).Sub(d.Total, d.allocated()), 2)
	}
	if each {
		o["StatusAttributeString"] = "OK"
	}
	if len(problems) > 0 {
		errs := []any{}
		for _, p := range problems {
			errs = append(errs, map[string]any{"Message": p})
		}
		o["ValidationErrors"] = errs
		if each {
			o["StatusAttributeString"] = "ERROR"
		}
	}
	return o
}

func netTime(at time.Time) string { return fmt.Sprintf("/Date(%d+0000)/", at.UnixMilli()) }
