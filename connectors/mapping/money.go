package mapping

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/cockroachdb/apd/v3"
)

// The digits after the point of the active currencies of ISO 4217 (list one, amendment
// 176). Practice differs for some: the rupiah has two there and is written without any,
// which money(amount, currency, 0) says.
const (
	withoutMinor = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
	twoDigits    = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD " +
		"EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN " +
		"NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
	threeDigits = "BHD IQD JOD KWD LYD OMR TND"
	fourDigits  = "CLF UYW"
)

var minorDigits = func() map[string]int64 {
	all := make(map[string]int64)
	for digits, codes := range map[int64]string{0: withoutMinor, 2: twoDigits, 3: threeDigits, 4: fourDigits} {
		for code := range strings.FieldsSeq(codes) {
			all[code] = digits
		}
	}
	return all
}()

const unknownCurrency = "the currency is no code of ISO 4217, like IDR; a third argument says how many digits there are"

func currencyDigits(code string) (int64, bool) {
	digits, ok := minorDigits[code]
	if !ok {
		digits, ok = minorDigits[strings.ToUpper(code)]
	}
	return digits, ok
}

// declareNumbers declares what makes and takes decimals.
func declareNumbers() []cel.EnvOption {
	dyn, d := cel.DynType, decimalType
	return []cel.EnvOption{
		cel.Function("decimal",
			cel.Overload("decimal_value", []*cel.Type{dyn}, d, cel.UnaryBinding(func(v ref.Val) ref.Val {
				if v, ok := v.(*decimal); ok && v.number == nil {
					if _, err := v.parsed(); err != nil {
						return err
					}
					return v // as it was written
				}
				number, err := toDecimal(v)
				if err != nil {
					return err
				}
				return newDecimal(new(apd.Decimal).Set(number))
			})),
			cel.Overload("decimal_value_digits", []*cel.Type{dyn, cel.IntType}, d, cel.BinaryBinding(func(v, digits ref.Val) ref.Val {
				number, err := toDecimal(v)
				if err != nil {
					return err
				}
				return rounded(number, int64(digits.(types.Int)))
			}))),
		cel.Function("money",
			cel.Overload("money_value_currency", []*cel.Type{dyn, cel.StringType}, d, cel.BinaryBinding(func(v, currency ref.Val) ref.Val {
				digits, ok := currencyDigits(string(currency.(types.String)))
				if !ok {
					return fail(unknownCurrency)
				}
				return money(v, digits)
			})),
			cel.Overload("money_value_currency_digits", []*cel.Type{dyn, cel.StringType, cel.IntType}, d, cel.FunctionBinding(func(args ...ref.Val) ref.Val {
				return money(args[0], int64(args[2].(types.Int)))
			}))),
		cel.Function("sum", cel.Overload("sum_list", []*cel.Type{cel.ListType(dyn)}, d, cel.OverloadIsNonStrict(), cel.UnaryBinding(sum))),
		cel.Function("int", cel.Overload("decimal_to_int64", []*cel.Type{d}, cel.IntType, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return v.ConvertToType(types.IntType)
		}))),
		cel.Function("string", cel.Overload("decimal_to_string", []*cel.Type{d}, cel.StringType, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return v.ConvertToType(types.StringType)
		}))),
	}
}

func money(v ref.Val, digits int64) ref.Val {
	number, err := toDecimal(v)
	if err != nil {
		return err
	}
	return rounded(number, digits)
}

// sum adds a list. What is absent in one of its values would make the whole sum absent,
// and a document without its total: that is an error.
func sum(v ref.Val) ref.Val {
	if err, ok := v.(*types.Err); ok {
		if isAbsence(err) {
			return fail("sum reads something that is not there; has(…) asks")
		}
		return err
	}
	if types.IsUnknown(v) {
		return v
	}
	list, ok := v.(traits.Lister)
	if !ok {
		return noOverload("sum")
	}
	total := apd.New(0, 0)
	for it := list.Iterator(); it.HasNext() == types.True; {
		element := it.Next()
		if element == types.NullValue {
			return fail("sum takes numbers, and there is a null among them")
		}
		number, err := toDecimal(element)
		if err != nil {
			return err
		}
		if _, failed := exact.Add(total, total, number); failed != nil || !bounded(total) {
			return tooLong()
		}
	}
	return newDecimal(total)
}
