package shopify

import (
	"math/big"
	"regexp"
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

func inner(o object, names ...string) object {
	for _, name := range names {
		o, _ = o[name].(object)
	}
	return o
}

// number is that of a global id: gid://shopify/Order/1001.
func number(gid string) string { return gid[strings.LastIndexByte(gid, '/')+1:] }

func (s *Simulator) next(kind string) (gid string, number string) {
	s.lastID++
	number = strconv.FormatInt(s.lastID, 10)
	return "gid://shopify/" + kind + "/" + number, number
}

func (s *Simulator) money(amount *big.Rat, currency string) object {
	money := object{"amount": amount.FloatString(2), "currencyCode": currency}
	return object{"shopMoney": money, "presentmentMoney": money}
}

// orderCreate makes an order of lines with a variant, or with a title and a price.
func (s *Simulator) orderCreate(arguments object) object {
	in, options := inner(arguments, "order"), inner(arguments, "options")
	lines := list(in, "lineItems")
	if len(lines) == 0 {
		return refused("INVALID", "Line items must have at least one line item", "order", "lineItems")
	}
	if email := text(in, "email"); email != "" && !strings.Contains(email, "@") {
		return refused("INVALID", "Email is invalid", "order", "email")
	}
	currency := text(in, "currency")
	if currency == "" {
		currency = s.config.Currency
	}
	total, shown := new(big.Rat), []any{}
	for i, line := range lines {
		path := []any{"order", "lineItems", strconv.Itoa(i)}
		variant := s.variants[number(text(line, "variantId"))]
		if text(line, "variantId") != "" && variant == nil {
			return refused("INVALID", "Variant does not exist", append(path, "variantId")...)
		}
		quantity, err := strconv.ParseInt(text(line, "quantity"), 10, 32)
		if err != nil || quantity < 1 {
			return refused("INVALID", "Quantity must be greater than 0", append(path, "quantity")...)
		}
		price := text(inner(line, "priceSet", "shopMoney"), "amount")
		if price == "" && variant != nil {
			price = variant.Price
		}
		amount, ok := decimal(price)
		if !ok || variant == nil && text(line, "title") == "" {
			return refused("INVALID", "Price must be present for custom line items", append(path, "priceSet")...)
		}
		total.Add(total, new(big.Rat).Mul(amount, big.NewRat(quantity, 1)))
		for _, tax := range list(line, "taxLines") {
			if text(tax, "rate") == "" {
				return refused("TAX_LINE_RATE_MISSING", "Tax lines need a rate", append(path, "taxLines")...)
			}
		}
		if in["taxesIncluded"] != true {
			total.Add(total, taxes(line))
		}
		id, _ := s.next("LineItem")
		one := object{"id": id, "quantity": quantity, "title": text(line, "title"), "price": price}
		if variant != nil {
			one["sku"], one["variant"] = variant.SKU, object{"id": "gid://shopify/ProductVariant/" + variant.ID, "sku": variant.SKU}
		}
		shown = append(shown, one)
	}
	for i, line := range list(in, "shippingLines") {
		amount, ok := decimal(text(inner(line, "priceSet", "shopMoney"), "amount"))
		if !ok || amount.Sign() < 0 || text(line, "title") == "" {
			return refused("INVALID", "Shipping lines need a title and a price", "order", "shippingLines", strconv.Itoa(i))
		}
		total.Add(total, amount)
		if in["taxesIncluded"] != true {
			total.Add(total, taxes(line))
		}
	}
	if off, ok := decimal(text(inner(in, "discountCode", "itemFixedDiscountCode", "amountSet", "shopMoney"), "amount")); ok {
		total.Sub(total, off)
	}
	if behaviour := text(options, "inventoryBehaviour"); behaviour != "" && behaviour != "BYPASS" {
		s.take(lines)
	}
	id, n := s.next("Order")
	tags, _ := in["tags"].([]any)
	order := object{
		"id": id, "legacyResourceId": n, "name": "#" + n, "tags": tags, "email": in["email"], "note": in["note"], "sourceIdentifier": in["sourceIdentifier"],
		"createdAt": s.now().UTC().Format(time.RFC3339), "currencyCode": currency, "totalPriceSet": s.money(total, currency),
		"displayFinancialStatus": text(in, "financialStatus"), "lineItems": connection(shown), "refunds": []any{},
	}
	s.orders = append(s.orders, order)
	return object{"order": order, "userErrors": []any{}}
}

// taxes of a line.
func taxes(line object) *big.Rat {
	sum := new(big.Rat)
	for _, tax := range list(line, "taxLines") {
		if t, ok := decimal(text(inner(tax, "priceSet", "shopMoney"), "amount")); ok {
			sum.Add(sum, t)
		}
	}
	return sum
}

// take moves the stock of lines, wherever there is the most of it.
func (s *Simulator) take(lines []object) {
	for _, line := range lines {
		v := s.variants[number(text(line, "variantId"))]
		quantity, _ := strconv.ParseInt(text(line, "quantity"), 10, 32)
		if v == nil {
			continue
		}
		best := ""
		for location, have := range v.Stock {
			if best == "" || have > v.Stock[best] || have == v.Stock[best] && location < best {
				best = location
			}
		}
		if best != "" {
			v.Stock[best] -= quantity
		}
	}
}

func connection(nodes []any) object {
	edges := make([]any, len(nodes))
	for i := range nodes {
		edges[i] = object{"node": nodes[i]}
	}
	return object{"nodes": nodes, "edges": edges, "pageInfo": object{"hasNextPage": false}}
}

func (s *Simulator) order(arguments object) object {
	for _, o := range s.orders {
		if o["id"] == arguments["id"] {
			return o
		}
	}
	return nil
}

// condition of a search: tag:'x', email:x, sku:"x".
var condition = regexp.MustCompile(`^\s*([a-z_]+):(?:'([^']*)'|"([^"]*)"|(\S+))\s*$`)

// found is the first of those that a search is about; all where it says nothing.
func found(all []object, arguments object, has func(o object, field, value string) bool) object {
	first := 50
	if n, err := strconv.Atoi(text(arguments, "first")); err == nil {
		first = n
	}
	parts := condition.FindStringSubmatch(text(arguments, "query"))
	nodes := []any{}
	for _, o := range all {
		if text(arguments, "query") != "" && (parts == nil || !has(o, parts[1], parts[2]+parts[3]+parts[4])) {
			continue
		}
		if nodes = append(nodes, o); len(nodes) == first {
			break
		}
	}
	return connection(nodes)
}

func (s *Simulator) listOrders(arguments object) object {
	return found(s.orders, arguments, func(o object, field, value string) bool {
		switch field {
		case "tag":
			tags, _ := o["tags"].([]any)
			return slices.Contains(tags, any(value))
		case "name":
			return strings.TrimPrefix(text(o, "name"), "#") == strings.TrimPrefix(value, "#")
		case "source_identifier":
			return text(o, "sourceIdentifier") == value
		}
		return false
	})
}

// refundCreate gives money back: never more than the order has left.
func (s *Simulator) refundCreate(arguments object) object {
	in := inner(arguments, "input")
	order := s.order(object{"id": in["orderId"]})
	if order == nil {
		return refused("NOT_FOUND", "Order does not exist", "orderId")
	}
	amount := new(big.Rat)
	for _, t := range list(in, "transactions") {
		given, ok := decimal(text(t, "amount"))
		if !ok || given.Sign() < 0 {
			return refused("INVALID", "Amount is not valid", "transactions", "amount")
		}
		amount.Add(amount, given)
	}
	left, _ := decimal(text(inner(order, "totalPriceSet", "shopMoney"), "amount"))
	for _, before := range list(order, "refunds") {
		gone, _ := decimal(text(inner(before, "totalRefundedSet", "shopMoney"), "amount"))
		left.Sub(left, gone)
	}
	if amount.Cmp(left) > 0 {
		return refused("INVALID", "Refund amount cannot be greater than the amount available to refund", "transactions")
	}
	id, n := s.next("Refund")
	refund := object{"id": id, "legacyResourceId": n, "note": in["note"], "totalRefundedSet": s.money(amount, text(order, "currencyCode"))}
	before, _ := order["refunds"].([]any)
	order["refunds"] = append(before, refund)
	return object{"refund": refund, "order": order, "userErrors": []any{}}
}

// Order is one as the shop has it. Nothing of it may be changed.
type Order struct {
	ID, Total string
	Refunds   int
	Fields    map[string]any
}

// Orders in the order in which they came.
func (s *Simulator) Orders() []Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Order
	for _, o := range s.orders {
		all = append(all, Order{text(o, "id"), text(inner(o, "totalPriceSet", "shopMoney"), "amount"), len(list(o, "refunds")), o})
	}
	return all
}
