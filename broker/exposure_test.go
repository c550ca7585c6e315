package broker

import (
	"errors"
	"testing"

	"raffsync/outbox"
)

func TestCompileExposure(t *testing.T) {
	t.Parallel()
	if e, err := CompileExposure(outbox.ExposureConfig{}); e != nil || err != nil {
		t.Errorf("none: %v", err)
	}
	worth, err := CompileExposure(outbox.ExposureConfig{Amount: "${money(body.total, body.currency)}", Currency: "${body.currency}", Units: "${body.n}"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		payload string
		want    *outbox.Exposure
	}{
		"All":          {`{"total": 31000, "currency": "IDR", "n": 2}`, &outbox.Exposure{Currency: "IDR", Amount: "31000.00", Units: "2"}},
		"Text":         {`{"total": "12.5", "currency": "USD"}`, &outbox.Exposure{Currency: "USD", Amount: "12.50"}},
		"UnitsAlone":   {`{"n": 3}`, &outbox.Exposure{Units: "3"}},
		"NoCurrency":   {`{"total": 5}`, nil},
		"NoCurrencyAt": {`{"total": 5, "currency": "rupiah"}`, nil},
		"NoJSON":       {`not json`, nil},
	} {
		got := worth(&outbox.Event{Payload: []byte(c.payload)})
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	var wrong *ExposureError
	if _, err := CompileExposure(outbox.ExposureConfig{Units: "${body.}"}); !errors.As(err, &wrong) || wrong.Field != "units" {
		t.Errorf("a wrong expression: %v", err)
	}
}
