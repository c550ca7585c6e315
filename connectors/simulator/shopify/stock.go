package shopify

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// inventorySetQuantities sets what is available, each against what was there.
func (s *Simulator) inventorySetQuantities(arguments object) object {
	in := inner(arguments, "input")
	if name := text(in, "name"); name != "available" && name != "on_hand" {
		return refused("INVALID_NAME", "The quantity name must be either available or on_hand", "input", "name")
	}
	type change struct {
		of       *Variant
		location string
		to       int64
	}
	var changes []change
	for i, q := range list(in, "quantities") {
		path := []any{"input", "quantities", strconv.Itoa(i)}
		v, location := s.variants[number(text(q, "inventoryItemId"))], number(text(q, "locationId"))
		if v == nil {
			return refused("INVALID_INVENTORY_ITEM", "The specified inventory item could not be found", append(path, "inventoryItemId")...)
		}
		have, stocked := v.Stock[location]
		if !stocked {
			return refused("ITEM_NOT_STOCKED_AT_LOCATION", "The specified inventory item is not stocked at the location", append(path, "locationId")...)
		}
		to, err := strconv.ParseInt(text(q, "quantity"), 10, 32)
		if err != nil {
			return refused("INVALID_QUANTITY", "The quantity is not valid", append(path, "quantity")...)
		}
		if was := q["changeFromQuantity"]; was != nil && text(q, "changeFromQuantity") != strconv.FormatInt(have, 10) {
			return refused("CHANGE_FROM_QUANTITY_STALE", "The changeFromQuantity value does not match the persisted quantity", append(path, "changeFromQuantity")...)
		}
		changes = append(changes, change{v, location, to})
	}
	if len(changes) == 0 {
		return refused("INVALID", "Quantities can't be blank", "input", "quantities")
	}
	for _, c := range changes {
		c.of.Stock[c.location] = c.to
	}
	id, _ := s.next("InventoryAdjustmentGroup")
	return object{"inventoryAdjustmentGroup": object{"id": id, "reason": in["reason"]}, "userErrors": []any{}}
}

// Stock of a variant at a location, both by number.
func (s *Simulator) Stock(variant, location string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.variants[variant]; v != nil {
		return v.Stock[location]
	}
	return 0
}

// listVariants: each has an inventory item of its own number.
func (s *Simulator) listVariants(arguments object) object {
	var all []object
	for _, id := range slices.Sorted(maps.Keys(s.variants)) {
		v := s.variants[id]
		levels := []any{}
		for _, location := range slices.Sorted(maps.Keys(v.Stock)) {
			levels = append(levels, object{"location": object{"id": "gid://shopify/Location/" + location}, "quantities": []any{object{"name": "available", "quantity": v.Stock[location]}}})
		}
		all = append(all, object{
			"id": "gid://shopify/ProductVariant/" + id, "sku": v.SKU, "price": v.Price,
			"inventoryItem": object{"id": "gid://shopify/InventoryItem/" + id, "inventoryLevels": connection(levels)},
		})
	}
	return found(all, arguments, func(o object, field, value string) bool { return field == "sku" && text(o, "sku") == value })
}

// customerCreate: an e-mail address is one customer's.
func (s *Simulator) customerCreate(arguments object) object {
	in := inner(arguments, "input")
	email := strings.ToLower(text(in, "email"))
	if email == "" && text(in, "phone") == "" && text(in, "firstName") == "" && text(in, "lastName") == "" {
		return refused("INVALID", "A name, phone number, or email address must be present", "input")
	}
	for _, other := range s.customers {
		if email != "" && text(other, "email") == email {
			return refused("TAKEN", "Email has already been taken", "input", "email")
		}
	}
	id, n := s.next("Customer")
	customer := object{"id": id, "legacyResourceId": n, "email": email, "firstName": in["firstName"], "lastName": in["lastName"], "tags": in["tags"]}
	s.customers = append(s.customers, customer)
	return object{"customer": customer, "userErrors": []any{}}
}

func (s *Simulator) listCustomers(arguments object) object {
	return found(s.customers, arguments, func(o object, field, value string) bool {
		tags, _ := o["tags"].([]any)
		return field == "email" && strings.EqualFold(text(o, "email"), value) || field == "tag" && slices.Contains(tags, any(value))
	})
}

func (s *Simulator) shop(object) object {
	return object{"name": "Shop", "currencyCode": s.config.Currency}
}
