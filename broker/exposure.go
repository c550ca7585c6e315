package broker

import (
	"cmp"
	"context"
	"errors"
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
	worth, err := compileExposure(c)
	if worth == nil {
		return nil, err
	}
	return func(e *outbox.Event) *outbox.Exposure {
		it, _ := worth(e)
		return it
	}, nil
}

// TryExposure says why the expressions tell nothing of an event: an [*ExposureError], nil
// where they do, or read something that it does not have.
func TryExposure(c outbox.ExposureConfig, e *outbox.Event) error {
	worth, err := compileExposure(c)
	if worth == nil {
		return err
	}
	_, err = worth(e)
	return err
}

func compileExposure(c outbox.ExposureConfig) (func(*outbox.Event) (*outbox.Exposure, error), error) {
	if c == (outbox.ExposureConfig{}) {
		return nil, nil
	}
	fields := c.Fields()
	texts := make([]*mapping.Text, len(fields))
	for i, f := range fields {
		if f.Text == "" {
			continue
		}
		var err error
		if texts[i], err = mapping.CompileText(f.Text, mapping.Events().WithSteps()); err != nil {
			return nil, &ExposureError{f.Name, err}
		}
	}
	return func(e *outbox.Event) (*outbox.Exposure, error) {
		var seen view
		event, body := seen.of(e)
		scope := &mapping.Scope{Event: event, Body: body, Outlet: mapping.Outlet{Name: e.Outlet}, Tenant: e.Tenant}
		values := make([]string, len(texts))
		var failed error
		for i, t := range texts {
			if t == nil {
				continue
			}
			text, missing, err := t.Render(context.Background(), scope)
			var absent *mapping.AbsentError
			switch {
			case err == nil && len(missing) == 0:
				values[i] = text
			case err == nil:
				failed = cmp.Or[error](failed, &ExposureError{fields[i].Name, errors.New("it looks something up, and what is at stake is told by the event alone")})
			case !errors.As(err, &absent):
				failed = cmp.Or[error](failed, &ExposureError{fields[i].Name, err})
			}
		}
		worth := outbox.Exposure{Amount: values[0], Currency: values[1], Units: values[2]}
		if worth.Amount == "" || worth.Currency == "" { // units alone are something, too
			worth.Amount, worth.Currency = "", ""
		}
		if worth == (outbox.Exposure{}) {
			return nil, failed
		}
		if err := outbox.CheckExposure(worth); err != nil {
			return nil, cmp.Or[error](failed, &ExposureError{"amount", err})
		}
		return &worth, failed
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
