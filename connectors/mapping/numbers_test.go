package mapping

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Integers of any size, and fractions, come out digit by digit as they went in.
func TestNumbers_PassedOn(t *testing.T) {
	template, err := CompileTemplate([]any{"${body.n}", "${string(body.n)}", "${decimal(body.n)}", "${body.n * 1}", "${lookup('t', body.n)}"}, Events())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`-?(0|[1-9][0-9]{0,60})(\.[0-9]{1,30})?`).Draw(t, "number")
		if strings.Trim(digits, "-0.") == "" {
			t.Skip("zero has its sign taken away")
		}
		result, err := template.Render(t.Context(), &Scope{
			Body:   NewBody([]byte(`{"n":` + digits + `}`)),
			Lookup: func(_, value string) (string, bool) { return value, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := result.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`[%s,"%[1]s",%[1]s,%[1]s,"%[1]s"]`, digits); string(out) != want {
			t.Fatalf("%s, want %s", out, want)
		}
	})
}

// What is reckoned is what math/big reckons.
func TestNumbers_Reckoned(t *testing.T) {
	template, err := CompileTemplate([]any{
		"${decimal(body.a) + body.b}", "${decimal(body.a) - body.b}", "${decimal(body.a) * body.b}", "${sum([body.a, body.b])}", "${decimal(body.a, 2)}",
		"${decimal(body.a) < body.b}", "${body.a == body.b}", "${body.a == body.a && body.a in [body.b, body.a]}",
	}, Events())
	if err != nil {
		t.Fatal(err)
	}
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,10})?`)
	half := big.NewRat(1, 2)
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		result, err := template.Render(t.Context(), &Scope{Body: NewBody([]byte(`{"a":` + a + `,"b":` + b + `}`))})
		if err != nil {
			t.Fatal(err)
		}
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		rounded := new(big.Rat).Mul(new(big.Rat).Abs(x), big.NewRat(100, 1))
		rounded.Add(rounded, half)
		cents := new(big.Rat).SetInt(new(big.Int).Quo(rounded.Num(), rounded.Denom()))
		cents.Quo(cents, big.NewRat(100, 1))
		if x.Sign() < 0 {
			cents.Neg(cents)
		}
		out := result.Value.([]any)
		for i, want := range []*big.Rat{new(big.Rat).Add(x, y), new(big.Rat).Sub(x, y), new(big.Rat).Mul(x, y), new(big.Rat).Add(x, y), cents} {
			if got, ok := new(big.Rat).SetString(fmt.Sprint(out[i])); !ok || got.Cmp(want) != 0 {
				t.Fatalf("%d: %v, want %s", i, out[i], want)
			}
		}
		if out[5] != (x.Cmp(y) < 0) || out[6] != (x.Cmp(y) == 0) || out[7] != true {
			t.Fatal(out)
		}
	})
}

func TestCurrencies(t *testing.T) {
	// The figures of ISO 4217 for the currencies of the shops that are connected, and the
	// ones that have other digits than two.
	for code, want := range map[string]int64{
		"IDR": 2, "SGD": 2, "MYR": 2, "THB": 2, "VND": 0, "PHP": 2, "USD": 2, "EUR": 2, "AUD": 2, "JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "UGX": 0, "XOF": 0, "KWD": 3, "BHD": 3, "TND": 3, "CLF": 4, "usd": 2,
	} {
		if got, ok := currencyDigits(code); !ok || got != want {
			t.Errorf("%s: %d %v, want %d", code, got, ok, want)
		}
	}
	for _, code := range []string{"", "RP", "XXX", "ZZZ", "US", "USDT"} {
		if _, ok := currencyDigits(code); ok {
			t.Errorf("%q is a currency", code)
		}
	}
	seen := 0
	for _, codes := range []string{withoutMinor, twoDigits, threeDigits, fourDigits} {
		seen += len(strings.Fields(codes))
	}
	if seen != len(minorDigits) {
		t.Error("a currency is listed twice")
	}
}

func TestReference(t *testing.T) {
	safe := regexp.MustCompile(`^[A-Za-z0-9-]+$`)
	seen := make(map[string][3]string)
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z]{1,3}/?[0-9]{0,3}`))
	rapid.Check(t, func(t *rapid.T) {
		tenant, destination, effect := text.Draw(t, "tenant"), text.Draw(t, "destination"), text.Filter(func(s string) bool { return s != "" }).Draw(t, "effect")
		scope := &Scope{Tenant: tenant, Destination: destination, Effect: effect}
		length := rapid.Int64Range(minReference, 60).Draw(t, "length")
		got := fmt.Sprint(reference(scope, length).Value())
		if again := fmt.Sprint(reference(scope, length).Value()); got != again {
			t.Fatalf("%q, and then %q", got, again)
		}
		if int64(len(got)) > length || len(got) < minReference || !safe.MatchString(got) {
			t.Fatalf("%q for %d characters", got, length)
		}
		of := [3]string{tenant, destination, effect}
		if other, ok := seen[got]; ok && other != of {
			t.Fatalf("%q for %q and for %q", got, of, other)
		}
		seen[got] = of
	})
	for effect, want := range map[string]string{
		"invoice/1042":                       "invoice-1042-2AJCSFC8H4TP",
		"invoice/" + strings.Repeat("9", 40): "",
		"///":                                "",
	} {
		got := fmt.Sprint(reference(&Scope{Effect: effect}, 30).Value())
		if want != "" && got != want || want == "" && len(got) != maxDigest {
			t.Errorf("%s: %q, want %q", effect, got, want)
		}
	}
	if got := reference(&Scope{}, 30); got.Type().TypeName() != "error" {
		t.Error("a reference of no effect: ", got)
	}
}
