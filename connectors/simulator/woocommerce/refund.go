package woocommerce

import (
	"math/big"
	"net/http"
)

// createRefund: of an amount, never more than the order has left.
func (s *Simulator) createRefund(r *http.Request, o object) answer {
	order := s.orders.byID[id(r)]
	if order == nil {
		return fail(http.StatusNotFound, "woocommerce_rest_invalid_order", "Invalid order ID.")
	}
	amount, ok := decimal(text(o, "amount"))
	if !ok || amount.Sign() <= 0 {
		return fail(http.StatusBadRequest, "woocommerce_rest_invalid_order_refund", "Refund amount must be greater than zero.")
	}
	left, _ := decimal(text(order, "total"))
	if left == nil {
		left = new(big.Rat)
	}
	for _, before := range list(order, "refunds") {
		if gone, ok := decimal(text(before, "total")); ok {
			left.Add(left, gone) // it is negative
		}
	}
	if amount.Cmp(left) > 0 {
		return fail(http.StatusBadRequest, "woocommerce_rest_cannot_create_order_refund", "Invalid refund amount.")
	}
	if flag(o, "api_refund", true) {
		s.gateway++
	}
	if flag(o, "api_restock", true) {
		s.moveStock(o, 1)
	}
	s.lastID++
	refund := object{
		"id": s.lastID, "amount": s.amount(amount), "reason": text(o, "reason"), "line_items": o["line_items"], "meta_data": o["meta_data"],
		"date_created_gmt": s.stamp(), "total": s.amount(new(big.Rat).Neg(amount)),
	}
	before, _ := order["refunds"].([]any)
	order["refunds"] = append(before, refund)
	order["date_modified_gmt"] = s.stamp()
	if amount.Cmp(left) == 0 {
		order["status"] = "refunded"
	}
	return answer{http.StatusCreated, nil, refund}
}

func (s *Simulator) listRefunds(r *http.Request, _ object) answer {
	order := s.orders.byID[id(r)]
	if order == nil {
		return fail(http.StatusNotFound, "woocommerce_rest_invalid_order", "Invalid order ID.")
	}
	all, _ := order["refunds"].([]any)
	return page(r, all)
}

// GatewayRefunds is how often the payment gateway was asked to give money back.
func (s *Simulator) GatewayRefunds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gateway
}
