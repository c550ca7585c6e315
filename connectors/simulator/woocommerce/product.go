package woocommerce

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (p *product) show() object {
	return object{
		"id": p.ID, "sku": p.SKU, "name": p.Name, "price": p.Price, "manage_stock": true, "stock_quantity": p.Stock,
		"stock_status": map[bool]string{true: "instock", false: "outofstock"}[p.Stock > 0],
	}
}

func (s *Simulator) listProducts(r *http.Request, _ object) answer {
	var all []any
	for _, id := range slices.Sorted(maps.Keys(s.products)) {
		if p := s.products[id]; r.FormValue("sku") == "" || slices.Contains(strings.Split(r.FormValue("sku"), ","), p.SKU) {
			all = append(all, p.show())
		}
	}
	return page(r, all)
}

func (s *Simulator) updateProduct(r *http.Request, o object) answer { return s.stock(id(r), o) }

// stock sets it as an absolute number, whatever it was.
func (s *Simulator) stock(id int64, o object) answer {
	p := s.products[id]
	if p == nil {
		return fail(http.StatusBadRequest, "woocommerce_rest_product_invalid_id", "Invalid ID.")
	}
	if given := o["stock_quantity"]; given != nil {
		n, err := strconv.ParseInt(text(o, "stock_quantity"), 10, 64)
		if err != nil {
			return fail(http.StatusBadRequest, "rest_invalid_param", "Invalid parameter(s): stock_quantity")
		}
		p.Stock = n
	}
	return answer{http.StatusOK, nil, p.show()}
}

// mostInBatch is the most things in one batch.
const mostInBatch = 100

func (s *Simulator) updateProducts(_ *http.Request, o object) answer {
	changes := list(o, "update")
	if len(changes) > mostInBatch {
		return fail(http.StatusRequestEntityTooLarge, "woocommerce_rest_request_entity_too_large", "Unable to accept more than 100 items for this request.")
	}
	each := []any{}
	for _, change := range changes {
		id, _ := strconv.ParseInt(text(change, "id"), 10, 64)
		a := s.stock(id, change)
		if a.status == http.StatusOK {
			each = append(each, a.body)
		} else {
			each = append(each, object{"id": id, "error": a.body})
		}
	}
	return answer{http.StatusOK, nil, object{"update": each}}
}

// Stock of a product.
func (s *Simulator) Stock(id int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.products[id]; p != nil {
		return p.Stock
	}
	return 0
}

func (s *Simulator) createCustomer(r *http.Request, o object) answer {
	email := strings.ToLower(text(o, "email"))
	if !strings.Contains(email, "@") {
		return fail(http.StatusBadRequest, "rest_missing_callback_param", "Missing parameter(s): email")
	}
	for _, other := range s.customers.byID {
		if strings.EqualFold(text(other, "email"), email) {
			return fail(http.StatusBadRequest, "registration-error-email-exists", "An account is already registered with your email address.")
		}
	}
	s.lastID++
	o["id"] = s.lastID
	s.customers.put(s.lastID, o)
	return answer{http.StatusCreated, nil, o}
}

func (s *Simulator) listCustomers(r *http.Request, _ object) answer {
	var all []any
	for _, id := range s.customers.order {
		if o := s.customers.byID[id]; r.FormValue("email") == "" || strings.EqualFold(text(o, "email"), r.FormValue("email")) {
			all = append(all, o)
		}
	}
	return page(r, all)
}
