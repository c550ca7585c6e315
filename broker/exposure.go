package broker

import (
	"context"
	"fmt"

	"raffsync/connectors/mapping"
	"raffsync/outbox"
)

// Exposure tells what a delivery of an event is worth while it is held; nil where the event
// does not say, or says what is no amount.
type Exposure func(*outbox.Event) *outbox.Exposure

// CompileExposure compiles what a route says of it; nil where it says nothing. Its error is
// an [*ExposureError].
func CompileExposure(c outbox.ExposureConfig) (Exposure, error) {
	if c == (outbox.ExposureConfig{}) {
		return nil, nil
	}
	var texts [3]*mapping.Text
	for i, f := range c.Fields() {
		if f.Text == "" {
			continue
		}
		var err error
		if texts[i], err = mapping.CompileText(f.Text, mapping.Events().WithSteps()); err != nil {
			return nil, &ExposureError{f.Name, err}
		}
	}
	return func(e *outbox.Event) *outbox.Exposure {
		var seen view
		event, body := seen.of(e)
		scope := &mapping.Scope{Event: event, Body: body, Outlet: mapping.Outlet{Name: e.Outlet}, Tenant: e.Tenant}
		var values [3]string
		for i, t := range texts {
			if t == nil {
				continue
			}
			text, missing, err := t.Render(context.Background(), scope)
			if err == nil && len(missing) == 0 {
				values[i] = text
			}
		}
		worth := outbox.Exposure{Amount: values[0], Currency: values[1], Units: values[2]}
		if worth.Amount == "" || worth.Currency == "" { // units alone are something, too
			worth.Amount, worth.Currency = "", ""
		}
		if worth == (outbox.Exposure{}) || outbox.CheckExposure(worth) != nil {
			return nil
		}
		return &worth
	}, nil
}

// ExposureError says which of the expressions is at fault.
type ExposureError struct {
	Field string // "amount", "currency" or "units"
	Err   error
}

func (e *ExposureError) Error() string { return fmt.Sprintf("exposure.%s: %s", e.Field, e.Err) }

func (e *ExposureError) Unwrap() error { return e.Err }

func checkExposure(c outbox.ExposureConfig, fault func(field string, err error)) {
	_, err := CompileExposure(c)
	if wrong, ok := err.(*ExposureError); ok {
		fault("exposure."+wrong.Field, wrong.Err)
	}
	if (c.Amount == "") != (c.Currency == "") {
		fault("exposure", fmt.Errorf("an amount needs a currency, and a currency an amount; name both"))
	}
}
