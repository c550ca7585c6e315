package mapping

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/cockroachdb/apd/v3"
)

const (
	// maxDigits is how many digits a number may have before and after its point together
	// once it is reckoned with. What is only passed on may have any number.
	maxDigits = 1000
	// quotientDigits is what a quotient is rounded to (IEEE 754's decimal128): far below
	// the smallest coin of any amount, so that money() rounds rightly afterwards.
	quotientDigits = 34
)

var decimalType = cel.ObjectType("decimal")

// exact adds, subtracts and multiplies without rounding; quotients rounds half to even, so
// that the second rounding, to a currency's digits, is not biased; rounding is that one,
// half away from zero.
var (
	exact     = apd.BaseContext
	quotients = roundingTo(quotientDigits, apd.RoundHalfEven)
	rounding  = roundingTo(2*maxDigits, apd.RoundHalfUp)
)

func roundingTo(digits uint32, rounder apd.Rounder) apd.Context {
	c := apd.BaseContext
	c.Precision, c.Rounding = digits, rounder
	return c
}

// decimal is a number that is no int: of any size, exact. It keeps how it was written
// for as long as it is only passed on, and is parsed once it is reckoned with.
type decimal struct {
	written string
	number  *apd.Decimal
}

// exactNumber is what templates see of a number of JSON: an int where 64 bits hold it,
// else a decimal.
func exactNumber(n json.Number) ref.Val {
	if !strings.ContainsAny(string(n), ".eE") {
		if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
			return types.Int(i)
		}
	}
	return &decimal{written: string(n)}
}

// parsed gives the number, or an error of CEL.
func (d *decimal) parsed() (*apd.Decimal, ref.Val) {
	if d.number == nil {
		number, err := parseDecimal(d.written)
		if err != nil {
			return nil, err
		}
		d.number = number
	}
	return d.number, nil
}

// parseDecimal takes a number in JSON's notation.
func parseDecimal(text string) (*apd.Decimal, ref.Val) {
	if len(text) > 2*maxDigits {
		return nil, tooLong()
	}
	if text == "" || skipNumber([]byte(text), 0) != len(text) {
		return nil, fail("it takes a number, and a text only where it is one, like 12.50: a point, no separators")
	}
	number, condition, err := apd.NewFromString(text)
	if err != nil || condition.Any() {
		return nil, tooLong()
	}
	if !bounded(number) {
		return nil, tooLong()
	}
	return number, nil
}

func tooLong() ref.Val {
	return fail("a number has more than " + strconv.Itoa(maxDigits) + " digits")
}

// bounded tells whether a number, written out, keeps to maxDigits.
func bounded(d *apd.Decimal) bool {
	digits, exponent := d.NumDigits(), int64(d.Exponent)
	return digits <= maxDigits && digits+exponent <= maxDigits && exponent >= -maxDigits
}

func newDecimal(d *apd.Decimal) ref.Val {
	if d.Form != apd.Finite || !bounded(d) {
		return tooLong()
	}
	if d.Negative && d.IsZero() {
		d.Negative = false // -0.00 confuses readers
	}
	return &decimal{number: d}
}

// text is the number written out, without an exponent.
func (d *decimal) text() (string, ref.Val) {
	if d.number == nil && !strings.ContainsAny(d.written, "eE") {
		return d.written, nil
	}
	number, err := d.parsed()
	if err != nil {
		return "", err
	}
	return number.Text('f'), nil
}

// json is the number as JSON: as it was written, where it was only passed on.
func (d *decimal) json() json.Number {
	if d.number != nil && d.written == "" {
		return json.Number(d.number.Text('f'))
	}
	return json.Number(d.written)
}

// asDecimal is a number of any kind as a decimal. Doubles stand in for what they print.
func asDecimal(v ref.Val) (*apd.Decimal, bool, ref.Val) {
	switch v := v.(type) {
	case *decimal:
		number, err := v.parsed()
		return number, true, err
	case types.Int:
		return apd.New(int64(v), 0), true, nil
	case types.Uint:
		return apd.NewWithBigInt(new(apd.BigInt).SetUint64(uint64(v)), 0), true, nil
	case types.Double:
		number, err := parseDecimal(strconv.FormatFloat(float64(v), 'g', -1, 64))
		return number, true, err
	}
	return nil, false, nil
}

// toDecimal is what decimal() and money() make of a value: texts in JSON's notation count
// as numbers, and null as nothing.
func toDecimal(v ref.Val) (*apd.Decimal, ref.Val) {
	if number, is, err := asDecimal(v); is {
		return number, err
	}
	switch v := v.(type) {
	case types.String:
		return parseDecimal(string(v))
	case types.Null:
		return nil, nothing()
	}
	return nil, fail("it takes a number, and a text only where it is one, like 12.50: a point, no separators")
}

// rounded rounds half away from zero, as people do with money.
func rounded(number *apd.Decimal, digits int64) ref.Val {
	if digits < 0 || digits > 30 {
		return fail("it rounds to 0 to 30 digits")
	}
	out := new(apd.Decimal)
	if _, err := rounding.Quantize(out, number, int32(-digits)); err != nil {
		return tooLong()
	}
	return newDecimal(out)
}

func (d *decimal) ConvertToNative(reflect.Type) (any, error) { return d.json(), nil }

func (d *decimal) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.StringType:
		text, err := d.text()
		if err != nil {
			return err
		}
		return types.String(text)
	case types.IntType:
		number, err := d.parsed()
		if err != nil {
			return err
		}
		n, failed := number.Int64()
		if failed != nil {
			return fail("int() takes a whole number of 64 bits; decimal(…, 0) rounds")
		}
		return types.Int(n)
	case types.TypeType:
		return decimalType
	}
	return noOverload("conversion")
}

func (d *decimal) Equal(other ref.Val) ref.Val {
	right, is, err := asDecimal(other)
	if !is || err != nil {
		return types.False
	}
	left, err := d.parsed()
	return types.Bool(err == nil && left.Cmp(right) == 0)
}

func (d *decimal) Type() ref.Type { return decimalType }

func (d *decimal) Value() any { return d.json() }
