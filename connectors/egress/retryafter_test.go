package egress_test

import (
	"net/http"
	"testing"
	"time"

	"raffsync/connectors/egress"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestParseRetryAfter(t *testing.T) {
	const limit = time.Hour
	for _, test := range []struct {
		name, value string
		want        time.Duration // 0: nothing usable
	}{
		{"Seconds", "120", 2 * time.Minute},
		{"Padded", "  7 ", 7 * time.Second},
		{"LeadingZeros", "0030", 30 * time.Second},
		{"ShopifyFraction", "2.0", 2 * time.Second},
		{"Fraction", "0.5", 500 * time.Millisecond},
		{"ExactlyTheLimit", "3600", limit},
		{"OverTheLimit", "3601", limit},
		{"Absurd", "999999999999999999999999999999", limit},
		{"Date", "Mon, 23 Nov 2026 12:01:30 GMT", 90 * time.Second},
		{"DateRFC850", "Monday, 23-Nov-26 12:01:30 GMT", 90 * time.Second},
		{"DateANSIC", "Mon Nov 23 12:01:30 2026", 90 * time.Second},
		{"DateOverTheLimit", "Fri, 31 Dec 9999 23:59:59 GMT", limit},
		{"DateNow", "Mon, 23 Nov 2026 12:00:00 GMT", 0},
		{"DatePast", "Wed, 21 Oct 2015 07:28:00 GMT", 0},
		{"DateUnreadable", "Mon, 32 Nov 2026 12:01:30 GMT", 0},
		{"Zero", "0", 0},
		{"NegativeZero", "-0", 0},
		{"Negative", "-5", 0},
		{"Signed", "+5", 0},
		{"Empty", "", 0},
		{"Words", "soon", 0},
		{"Exponent", "1e3", 0},
		{"Hexadecimal", "0x10", 0},
		{"Infinity", "Inf", 0},
		{"NotANumber", "NaN", 0},
		{"Underscore", "1_000", 0},
		{"OnlyDot", ".", 0},
		{"NoWhole", ".5", 0},
		{"NoFraction", "5.", 0},
		{"TwoDots", "1.2.3", 0},
		{"Unit", "5s", 0},
		{"OtherDigits", "٣", 0},
		{"List", "5, 6", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := egress.ParseRetryAfter(http.Header{"Retry-After": {test.value}}, noon, limit)
			if got != test.want || ok != (test.want > 0) {
				t.Errorf("%q: got %s, %t; want %s", test.value, got, ok, test.want)
			}
		})
	}
	t.Run("Missing", func(t *testing.T) {
		if got, ok := egress.ParseRetryAfter(nil, noon, limit); ok {
			t.Errorf("got %s", got)
		}
	})
	t.Run("NoLimit", func(t *testing.T) {
		if got, ok := egress.ParseRetryAfter(http.Header{"Retry-After": {"5"}}, noon, 0); ok {
			t.Errorf("got %s", got)
		}
	})
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"120", "2.0", "-1", "1e9", "Mon, 23 Nov 2026 12:01:30 GMT", "99999999999999999999", "0.0000000001"} {
		f.Add(seed, int64(time.Hour))
	}
	f.Fuzz(func(t *testing.T, value string, limit int64) {
		wait, ok := egress.ParseRetryAfter(http.Header{"Retry-After": {value}}, noon, time.Duration(limit))
		if ok && (wait <= 0 || wait > time.Duration(limit)) || !ok && wait != 0 {
			t.Errorf("%q within %d: got %d, %t", value, limit, wait, ok)
		}
	})
}
