package accurate

import (
	"fmt"
	"math/big"
	"strings"
	"time"
)

// checkDocument looks at what orders, invoices and returns have in common, and sums
// their lines up. move, where not nil, is told the quantity of each item.
func (s *Simulator) checkDocument(o object, move func(line object, item string, quantity *big.Rat)) (total *big.Rat, problems []string) {
	say := func(format string, arguments ...any) { problems = append(problems, fmt.Sprintf(format, arguments...)) }
	if customer := text(o, "customerNo"); customer == "" {
		say("Pelanggan harus diisi")
	} else if _, known := s.books["customer"].byName[customer]; !known {
		say("%s", missing("Pelanggan", customer))
	}
	s.checkDate(o, say)
	items := lines(o, "detailItem")
	if len(items) == 0 {
		say("Rincian barang harus diisi")
	}
	total = new(big.Rat)
	for i, line := range items {
		amount, quantity, problem := lineAmount(line)
		if problem != "" {
			say("Baris %d: %s", i+1, problem)
			continue
		}
		item := text(line, "itemNo")
		if _, known := s.books["item"].byName[item]; !known {
			say("%s", missing("Barang", item))
			continue
		}
		total.Add(total, amount)
		if move != nil {
			move(line, item, quantity)
		}
	}
	for _, expense := range lines(o, "detailExpense") {
		amount, err := decimal(expense, "expenseAmount", 0)
		if err != nil || text(expense, "accountNo") == "" {
			say("Biaya harus memiliki akun dan nilai")
			continue
		}
		total.Add(total, amount)
	}
	discount, err := decimal(o, "cashDiscount", 0)
	if err != nil {
		say("%v", err)
	} else {
		total.Sub(total, discount)
	}
	return total, problems
}

func (s *Simulator) checkDate(o object, say func(string, ...any)) {
	at, err := date(o, "transDate")
	switch {
	case text(o, "transDate") == "": // the platform takes today's
		o["transDate"] = s.now().In(jakarta).Format("02/01/2006")
	case err != nil:
		say("%v", err)
	case at.Before(s.config.LockedBefore):
		say("Tanggal transaksi tidak dapat lebih kecil dari %s", s.config.LockedBefore.Format("02/01/2006"))
	case at.After(s.now().AddDate(1, 0, 0)):
		say("Tanggal transaksi tidak valid")
	}
}

// lineAmount is quantity × price without the discount. With a discount in per cent, the
// one in cash is dropped.
func lineAmount(line object) (amount, quantity *big.Rat, problem string) {
	price, err := decimal(line, "unitPrice", 0)
	if err != nil || text(line, "unitPrice") == "" {
		return nil, nil, "Harga harus diisi"
	}
	if quantity, err = decimal(line, "quantity", 1); err != nil || quantity.Sign() <= 0 {
		return nil, nil, "Kuantitas harus lebih besar dari 0"
	}
	amount = new(big.Rat).Mul(price, quantity)
	percents := text(line, "itemDiscPercent")
	if percents == "" {
		cash, err := decimal(line, "itemCashDiscount", 0)
		if err != nil {
			return nil, nil, err.Error()
		}
		return amount.Sub(amount, cash), quantity, ""
	}
	for percent := range strings.SplitSeq(percents, "+") {
		p, err := decimal(object{"itemDiscPercent": strings.TrimSpace(percent)}, "itemDiscPercent", 0)
		if err != nil || p.Sign() < 0 || p.Cmp(big.NewRat(100, 1)) > 0 {
			return nil, nil, "Diskon tidak valid"
		}
		left := new(big.Rat).Sub(big.NewRat(1, 1), p.Quo(p, big.NewRat(100, 1)))
		amount.Mul(amount, left)
	}
	return amount, quantity, ""
}

func checkOrder(s *Simulator, o object) (effects, []string) {
	total, problems := s.checkDocument(o, nil)
	return effects{total: total}, problems
}

// checkInvoice: the stock of what is not drawn from a delivery order goes out. A line
// names at most one document that it is drawn from: the delivery order counts before the
// sales order.
func checkInvoice(s *Simulator, o object) (effects, []string) {
	var e effects
	var drawn []string
	total, problems := s.checkDocument(o, func(line object, item string, quantity *big.Rat) {
		if text(line, "deliveryOrderNumber") != "" {
			return
		}
		e.move(item, new(big.Rat).Neg(quantity))
		if order := text(line, "salesOrderNumber"); order != "" {
			drawn = append(drawn, order)
		}
	})
	for _, order := range drawn {
		id, known := s.books["sales-order"].byName[order]
		switch {
		case !known:
			problems = append(problems, missing("Pesanan", order))
		case text(s.books["sales-order"].byID[id], "closed") == "true":
			problems = append(problems, fmt.Sprintf("Pesanan %q sudah ditutup, tidak dapat diproses lagi", order))
		}
	}
	e.total = total
	return e, problems
}

// Close ends an order by hand, so that no invoice can be drawn from it any more.
func (s *Simulator) Close(order string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, known := s.books["sales-order"].byName[order]
	if known {
		s.books["sales-order"].byID[id]["closed"] = "true"
	}
	return known
}

func checkReturn(s *Simulator, o object) (effects, []string) {
	var e effects
	total, problems := s.checkDocument(o, func(_ object, item string, quantity *big.Rat) { e.move(item, quantity) })
	switch kind := text(o, "returnType"); kind {
	case "NO_INVOICE", "DELIVERY":
	case "INVOICE", "INVOICE_DP":
		if invoice := text(o, "invoiceNumber"); s.books["sales-invoice"].byName[invoice] == 0 {
			problems = append(problems, missing("Faktur", invoice))
		}
	default:
		problems = append(problems, "Tipe retur harus diisi")
	}
	e.total = total
	return e, problems
}

func checkReceipt(s *Simulator, o object) (effects, []string) {
	var problems []string
	say := func(format string, arguments ...any) { problems = append(problems, fmt.Sprintf(format, arguments...)) }
	if text(o, "bankNo") == "" {
		say("Kas/Bank harus diisi")
	}
	if customer := text(o, "customerNo"); s.books["customer"].byName[customer] == 0 {
		say("%s", missing("Pelanggan", customer))
	}
	s.checkDate(o, say)
	total := new(big.Rat)
	for _, line := range lines(o, "detailInvoice") {
		invoice := text(line, "invoiceNo")
		if s.books["sales-invoice"].byName[invoice] == 0 {
			say("%s", missing("Faktur", invoice))
		}
		paid, err := decimal(line, "paymentAmount", 0)
		if err != nil {
			say("%v", err)
			continue
		}
		total.Add(total, paid)
	}
	if cheque, err := decimal(o, "chequeAmount", 0); err != nil || cheque.Cmp(total) != 0 {
		say("Nilai pembayaran tidak sama dengan total faktur")
	}
	return effects{total: total}, problems
}

// Date of the document.
func (d Document) Date() (time.Time, error) { return date(d.Fields, "transDate") }
