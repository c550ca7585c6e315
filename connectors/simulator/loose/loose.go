// Package loose reads JSON that a caller of a simulated platform wrote as it liked: numbers
// as texts, fields that are not there.
package loose

import (
	"fmt"
	"math/big"
	"regexp"
)

// Text of a field, however it is written; empty where there is none.
func Text(o map[string]any, name string) string {
	switch v := o[name].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// List is the objects of a field that is a list; what else is in it is left out.
func List(o map[string]any, name string) []map[string]any {
	elements, _ := o[name].([]any)
	var all []map[string]any
	for _, e := range elements {
		if one, ok := e.(map[string]any); ok {
			all = append(all, one)
		}
	}
	return all
}

var decimalForm = regexp.MustCompile(`^-?\d{1,15}(\.\d{1,10})?$`)

// Decimal reads a decimal number of at most ten decimals, and nothing else.
func Decimal(text string) (*big.Rat, bool) {
	if !decimalForm.MatchString(text) {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}
