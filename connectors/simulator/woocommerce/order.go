package woocommerce

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"raffsync/connectors/simulator/loose"
)

var (
	decimal = loose.Decimal
	text    = loose.Text
	list    = loose.List
)

var statuses = []string{"pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed"}

func flag(o object, name string, otherwise bool) bool {
	if v, ok := o[name].(bool); ok {
		return v
	}
	return otherwise
}

func id(r *http.Request) int64 {
	n, _ := strconv.ParseInt(r.PathValue("id"), 10, 64) // 0 is nobody's
	return n
}

func (s *Simulator) createOrder(r *http.Request, o object) answer {
	if o["id"] != nil {
		return fail(http.StatusBadRequest, "woocommerce_rest_shop_order_exists", "Cannot create existing shop_order.")
	}
	if problem := s.checkOrder(o); problem != nil {
		return *problem
	}
	if problem := s.fill(o); problem != nil {
		return *problem
	}
	s.lastID++
	o["id"], o["number"] = s.lastID, strconv.FormatInt(s.lastID, 10)
	o["date_created_gmt"] = s.stamp()
	o["refunds"] = []any{}
	if text(o, "status") == "" {
		o["status"] = "pending"
	}
	s.pay(o)
	s.orders.put(s.lastID, o)
	header := http.Header{}
	header.Set("Location", fmt.Sprintf("http://%s/wp-json/wc/v3/orders/%d", r.Host, s.lastID))
	return answer{http.StatusCreated, header, o}
}

func (s *Simulator) stamp() string { return s.now().UTC().Format("2006-01-02T15:04:05") }

func (s *Simulator) checkOrder(o object) *answer {
	if status := text(o, "status"); status != "" && !slices.Contains(statuses, status) {
		no := fail(http.StatusBadRequest, "rest_invalid_param", "Invalid parameter(s): status")
		return &no
	}
	if customer, err := strconv.ParseInt(text(o, "customer_id"), 10, 64); err == nil && customer != 0 && s.customers.byID[customer] == nil {
		no := fail(http.StatusBadRequest, "woocommerce_rest_invalid_customer_id", "Customer ID is invalid.")
		return &no
	}
	return nil
}

// fill works out the lines and totals of an order.
func (s *Simulator) fill(o object) *answer {
	total, tax := new(big.Rat), new(big.Rat)
	for _, line := range list(o, "line_items") {
		productID, _ := strconv.ParseInt(text(line, "product_id"), 10, 64)
		p := s.products[productID]
		if p == nil { // unverified: the code
			no := fail(http.StatusBadRequest, "woocommerce_rest_invalid_product_id", "Invalid product ID.")
			return &no
		}
		quantity, ok := decimal(text(line, "quantity"))
		if line["quantity"] == nil {
			quantity, ok = big.NewRat(1, 1), true
		}
		amount := new(big.Rat)
		if ok {
			amount.Mul(p.price, quantity)
		}
		if given := text(line, "total"); given != "" {
			var well bool
			amount, well = decimal(given)
			ok = ok && well
		}
		lineTax := new(big.Rat)
		if given := text(line, "total_tax"); given != "" {
			var well bool
			lineTax, well = decimal(given)
			ok = ok && well
		}
		if !ok {
			no := fail(http.StatusBadRequest, "rest_invalid_param", "Invalid parameter(s): line_items")
			return &no
		}
		s.lastID++
		line["id"], line["name"], line["sku"], line["quantity"] = s.lastID, p.Name, p.SKU, json.Number(quantity.FloatString(0))
		line["total"], line["total_tax"] = s.amount(amount), s.amount(lineTax)
		total.Add(total, amount)
		tax.Add(tax, lineTax)
	}
	for _, part := range []string{"shipping_lines", "fee_lines"} {
		for _, line := range list(o, part) {
			amount, ok := decimal(text(line, "total"))
			if !ok {
				no := fail(http.StatusBadRequest, "rest_invalid_param", "Invalid parameter(s): "+part)
				return &no
			}
			total.Add(total, amount)
			if given, well := decimal(text(line, "total_tax")); well {
				tax.Add(tax, given)
			}
		}
	}
	o["total_tax"], o["total"] = s.amount(tax), s.amount(total.Add(total, tax))
	return nil
}

func (s *Simulator) amount(r *big.Rat) string { return r.FloatString(s.decimals) }

// pay has an order paid that is to be, which reduces stock, once.
func (s *Simulator) pay(o object) {
	paid := flag(o, "set_paid", false)
	delete(o, "set_paid")
	if paid && o["date_paid_gmt"] == nil {
		o["date_paid_gmt"], o["status"] = s.stamp(), "processing"
	}
	if status := text(o, "status"); (status == "processing" || status == "completed") && o["stock_reduced"] == nil {
		o["stock_reduced"] = true
		s.moveStock(o, -1)
	}
	o["date_modified_gmt"] = s.stamp()
}

func (s *Simulator) moveStock(o object, sign int64) {
	for _, line := range list(o, "line_items") {
		productID, _ := strconv.ParseInt(text(line, "product_id"), 10, 64)
		quantity, _ := strconv.ParseInt(text(line, "quantity"), 10, 64)
		if p := s.products[productID]; p != nil {
			p.Stock += sign * quantity
		}
	}
}

func (s *Simulator) getOrder(r *http.Request, _ object) answer {
	o := s.orders.byID[id(r)]
	if o == nil {
		return fail(http.StatusNotFound, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
	}
	return answer{http.StatusOK, nil, o}
}

func (s *Simulator) updateOrder(r *http.Request, change object) answer {
	o := s.orders.byID[id(r)]
	if o == nil {
		return fail(http.StatusBadRequest, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
	}
	if problem := s.checkOrder(change); problem != nil {
		return *problem
	}
	changed := make(object, len(o))
	for name, value := range o {
		changed[name] = value
	}
	for name, value := range change {
		if name != "id" && name != "refunds" {
			changed[name] = value
		}
	}
	if _, lines := change["line_items"]; lines {
		if problem := s.fill(changed); problem != nil {
			return *problem
		}
	}
	s.pay(changed)
	s.orders.put(id(r), changed)
	return answer{http.StatusOK, nil, changed}
}

// listOrders: the newest first. search looks at the number and the billing address.
func (s *Simulator) listOrders(r *http.Request, _ object) answer {
	after, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(r.FormValue("modified_after"), "Z"))
	if r.FormValue("modified_after") != "" && err != nil {
		return fail(http.StatusBadRequest, "rest_invalid_param", "Invalid parameter(s): modified_after")
	}
	var all []any
	for _, id := range slices.Backward(s.orders.order) {
		o := s.orders.byID[id]
		modified, _ := time.Parse("2006-01-02T15:04:05", text(o, "date_modified_gmt"))
		switch {
		case r.FormValue("status") != "" && r.FormValue("status") != "any" && text(o, "status") != r.FormValue("status"),
			!after.IsZero() && !modified.After(after),
			!strings.Contains(strings.ToLower(fmt.Sprint(o["number"], " ", o["billing"])), strings.ToLower(r.FormValue("search"))):
			continue
		}
		all = append(all, o)
	}
	return page(r, all)
}

// Order is one as the shop has it. Nothing of it may be changed.
type Order struct {
	ID     int64
	Status string
	Total  string
	Fields map[string]any
}

// Orders in the order in which they came.
func (s *Simulator) Orders() []Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Order
	for _, id := range s.orders.order {
		o := s.orders.byID[id]
		all = append(all, Order{id, text(o, "status"), text(o, "total"), o})
	}
	return all
}
