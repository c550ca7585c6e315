package shopify

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
)

// operation is a field of the root.
type operation struct {
	scope string
	// idempotent: it takes a key, and wants one from version wantsKeys on.
	idempotent bool
	do         func(*Simulator, object) object
}

var operations = map[string]operation{
	"orderCreate":            {"write_orders", false, (*Simulator).orderCreate},
	"refundCreate":           {"write_orders", true, (*Simulator).refundCreate},
	"inventorySetQuantities": {"write_inventory", true, (*Simulator).inventorySetQuantities},
	"customerCreate":         {"write_customers", false, (*Simulator).customerCreate},
	"order":                  {"read_orders", false, (*Simulator).order},
	"orders":                 {"read_orders", false, (*Simulator).listOrders},
	"customers":              {"read_customers", false, (*Simulator).listCustomers},
	"productVariants":        {"read_products", false, (*Simulator).listVariants},
	"shop":                   {"read_products", false, (*Simulator).shop},
}

// wantsKeys is the first version whose idempotent mutations are refused without a key.
const wantsKeys = "2026-04"

// keyFor is how long a key is remembered.
const keyFor = 24 * time.Hour

type remembered struct {
	arguments [sha256.Size]byte
	until     time.Time
	payload   object
}

// answer carries the operation out.
func (s *Simulator) answer(q *question) object {
	data, errs := make(object), []any{}
	fail := func(f *ast.Field, code, format string, arguments ...any) {
		data[f.Alias] = nil
		errs = append(errs, object{"message": fmt.Sprintf(format, arguments...), "path": []any{f.Alias}, "extensions": object{"code": code}})
	}
	for _, f := range q.fields {
		op, known := operations[f.Name]
		if !known {
			fail(f, "undefinedField", "Field '%s' doesn't exist", f.Name)
			continue
		}
		if !s.may(op.scope) {
			fail(f, "ACCESS_DENIED", "Access denied for %s field. Required access: `%s` access scope.", f.Name, op.scope)
			continue
		}
		arguments := make(object)
		for _, a := range f.Arguments {
			value, err := a.Value.Value(q.variables)
			if err != nil {
				value = nil
			}
			arguments[a.Name] = value
		}
		key := keyOf(f, q.variables)
		if op.idempotent && key == "" && q.version >= wantsKeys { // unverified: the words
			fail(f, "BAD_REQUEST", "The @idempotent directive is required for this mutation")
			continue
		}
		data[f.Alias] = q.shown(s.once(op, key, arguments), f.SelectionSet)
	}
	answer := object{"data": data}
	if len(errs) > 0 {
		answer["errors"] = errs
	}
	return answer
}

// keyOf is the key of the field's @idempotent; empty where it has none.
func keyOf(f *ast.Field, variables map[string]any) string {
	d := f.Directives.ForName("idempotent")
	if d == nil || d.Arguments.ForName("key") == nil {
		return ""
	}
	value, _ := d.Arguments.ForName("key").Value.Value(variables)
	key, _ := value.(string)
	return key
}

// once carries a mutation out, or answers as it did to the first with the same key.
func (s *Simulator) once(op operation, key string, arguments object) object {
	if key == "" || !op.idempotent {
		return op.do(s, arguments)
	}
	text, err := json.Marshal(arguments)
	if err != nil {
		return refused("BAD_REQUEST", "the arguments cannot be told apart")
	}
	sum := sha256.Sum256(text)
	if first, known := s.keys[key]; known && s.now().Before(first.until) {
		if first.arguments != sum {
			return refused("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", "The idempotency key was used with other parameters")
		}
		return first.payload
	}
	payload := op.do(s, arguments)
	s.keys[key] = remembered{sum, s.now().Add(keyFor), payload}
	return payload
}

// refused is the payload of a mutation that the business refuses.
func refused(code, message string, field ...any) object {
	return object{"userErrors": []any{object{"code": code, "message": message, "field": field}}}
}
