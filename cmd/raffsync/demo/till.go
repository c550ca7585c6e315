package demo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// FirstOrder is the number of the demo's first order.
const FirstOrder = 1042

// order is the snapshot that order.created and order.paid carry.
type order struct {
	Number        string   `json:"number"`
	Outlet        string   `json:"outlet"`
	Till          string   `json:"till"`
	Cashier       string   `json:"cashier"`
	Service       string   `json:"service"`
	Customer      customer `json:"customer"`
	Lines         []line   `json:"lines"`
	Currency      string   `json:"currency"`
	Subtotal      int64    `json:"subtotal"`
	Tax           tax      `json:"tax"`
	Total         int64    `json:"total"`
	PaymentStatus string   `json:"payment_status"`
	Payment       *payment `json:"payment,omitempty"`
	CreatedAt     string   `json:"created_at"`
	UpdatedAt     string   `json:"updated_at"`
}

type customer struct {
	Name   string `json:"name"`
	Member string `json:"member,omitempty"`
}

type line struct {
	SKU       string   `json:"sku"`
	Name      string   `json:"name"`
	Quantity  int64    `json:"quantity"`
	UnitPrice int64    `json:"unit_price"`
	Amount    int64    `json:"amount"`
	Modifiers []string `json:"modifiers,omitempty"`
}

type tax struct {
	Name        string `json:"name"`
	RatePercent int64  `json:"rate_percent"`
	Amount      int64  `json:"amount"`
}

type payment struct {
	Method string `json:"method"`
	Amount int64  `json:"amount"`
	PaidAt string `json:"paid_at"`
}

type invoice struct {
	Number   string   `json:"number"`
	Order    string   `json:"order"`
	Outlet   string   `json:"outlet"`
	Customer customer `json:"customer"`
	Lines    []line   `json:"lines"`
	Currency string   `json:"currency"`
	Subtotal int64    `json:"subtotal"`
	Tax      tax      `json:"tax"`
	Total    int64    `json:"total"`
	IssuedAt string   `json:"issued_at"`
}

type stockMove struct {
	SKU      string `json:"sku"`
	Outlet   string `json:"outlet"`
	Quantity int64  `json:"quantity"` // negative for what leaves
	Reason   string `json:"reason"`
	Order    string `json:"order,omitempty"`
	MovedAt  string `json:"moved_at"`
}

// till makes the events of a shop, in memory. Its random source decides what is
// sold; its name is part of every id.
type till struct {
	name   string
	random *rand.Rand
	queue  []later // by time
}

// later is an event that is still to come.
type later struct {
	at   time.Time
	make func(now time.Time) *raffsyncv1.Event
}

func (t *till) after(at time.Time, make func(time.Time) *raffsyncv1.Event) {
	i, _ := slices.BinarySearchFunc(t.queue, at, func(l later, at time.Time) int {
		if l.at.After(at) {
			return 1
		}
		return -1 // behind those of the same time
	})
	t.queue = slices.Insert(t.queue, i, later{at, make})
}

// due returns the next event whose time has come, nil where there is none.
func (t *till) due(now time.Time) *raffsyncv1.Event {
	if len(t.queue) == 0 || t.queue[0].at.After(now) {
		return nil
	}
	next := t.queue[0]
	t.queue = slices.Delete(t.queue, 0, 1)
	return next.make(now)
}

// open takes an order and returns its first event. Payment, invoice and stock moves
// become due in the seconds after.
func (t *till) open(number int64, now time.Time) *raffsyncv1.Event {
	at := outlets[(number-FirstOrder)%int64(len(outlets))]
	o, taken := t.fill(number, at, now)
	key := "order/" + o.Number
	references := map[string]string{"order": o.Number}
	created := t.event(key+"/created", "order.created", key, at, now, references, o)

	paid := now.Add(time.Duration(1500+t.random.IntN(4000)) * time.Millisecond)
	t.after(paid, func(now time.Time) *raffsyncv1.Event {
		o := o // the event above has been sent with the other state
		o.PaymentStatus, o.UpdatedAt = "paid", stamp(now, at)
		o.Payment = &payment{payments[t.random.IntN(len(payments))], o.Total, o.UpdatedAt}
		return t.event(key+"/paid", "order.paid", key, at, now, references, o)
	})
	t.after(paid.Add(300*time.Millisecond), func(now time.Time) *raffsyncv1.Event {
		i := invoice{"INV-" + o.Number, o.Number, o.Outlet, o.Customer, o.Lines, o.Currency, o.Subtotal, o.Tax, o.Total, stamp(now, at)}
		return t.event("invoice/"+i.Number, "invoice.issued", key, at, now,
			map[string]string{"order": o.Number, "invoice": i.Number}, i)
	})
	for sku, quantity := range taken {
		t.after(paid.Add(500*time.Millisecond), func(now time.Time) *raffsyncv1.Event {
			return t.move(key, at, now, stockMove{SKU: sku, Quantity: -quantity, Reason: "sale", Order: o.Number})
		})
	}
	if number%12 == 0 {
		sku := menu[len(menu)-1-t.random.IntN(5)].sku
		t.after(paid, func(now time.Time) *raffsyncv1.Event {
			return t.move("restock/"+o.Number, at, now, stockMove{SKU: sku, Quantity: 24, Reason: "goods-received"})
		})
	}
	return created
}

// fill makes up an order and says what it takes out of stock: cups, and goods that
// are counted one by one.
func (t *till) fill(number int64, at outlet, now time.Time) (o order, taken map[string]int64) {
	o = order{
		Number: fmt.Sprint(number), Outlet: at.name, Till: at.till, Currency: "IDR", PaymentStatus: "open",
		Cashier: at.cashiers[t.random.IntN(len(at.cashiers))], Service: at.counter[t.random.IntN(len(at.counter))],
		Customer:  customer{Name: customers[t.random.IntN(len(customers))]},
		CreatedAt: stamp(now, at), UpdatedAt: stamp(now, at),
	}
	if t.random.IntN(3) == 0 {
		o.Customer.Member = fmt.Sprintf("KR-%05d", 100+t.random.IntN(4000))
	}
	var chosen []product
	if hasOatLatte(number) {
		chosen = append(chosen, oatLatte)
	}
	for _, i := range t.random.Perm(len(menu))[:1+t.random.IntN(3)] {
		chosen = append(chosen, menu[i])
	}
	taken = map[string]int64{}
	for _, p := range chosen {
		l := t.line(p)
		o.Lines, o.Subtotal = append(o.Lines, l), o.Subtotal+l.Amount
		taken[cmp.Or(p.cup, p.sku)] += l.Quantity
	}
	// The regional tax on food and drink, rounded to whole rupiah.
	o.Tax = tax{"PB1", 10, (o.Subtotal*10 + 50) / 100}
	o.Total = o.Subtotal + o.Tax.Amount
	return o, taken
}

func (t *till) line(p product) line {
	l := line{SKU: p.sku, Name: p.name, Quantity: 1 + t.random.Int64N(3), UnitPrice: p.price}
	l.Amount = l.Quantity * l.UnitPrice
	if len(p.modifier) > 0 && t.random.IntN(2) == 0 {
		l.Modifiers = []string{p.modifier[t.random.IntN(len(p.modifier))]}
	}
	return l
}

func (t *till) move(of string, at outlet, now time.Time, m stockMove) *raffsyncv1.Event {
	m.Outlet, m.MovedAt = at.name, stamp(now, at)
	references := map[string]string{"sku": m.SKU}
	if m.Order != "" {
		references["order"] = m.Order
	}
	return t.event("stock/"+of+"/"+m.SKU, "stock.moved", "stock/"+m.SKU, at, now, references, m)
}

func (t *till) event(id, kind, key string, at outlet, now time.Time, references map[string]string, content any) *raffsyncv1.Event {
	data, err := json.Marshal(content)
	if err != nil {
		panic(err) // structs of texts and numbers
	}
	return &raffsyncv1.Event{
		Id: t.name + "/" + id, Type: kind, OrderingKey: key, Outlet: at.name,
		OccurredAt: timestamppb.New(now), References: references, ContentType: "application/json",
		Data: &raffsyncv1.Event_TextData{TextData: string(data)},
	}
}

func stamp(now time.Time, at outlet) string {
	return now.In(at.zone).Format("2006-01-02T15:04:05.000Z07:00")
}
