package connectortest

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// prepare checks that Prepare is pure: twice the same, the event left alone, no
// request sent, and fit for many goroutines.
func (s *suite) prepare(t *testing.T) {
	p := s.newPlatform(t)
	d := s.New(t, p.URL)
	for _, payload := range payloads {
		t.Run(payload.name, func(t *testing.T) {
			step := s.newStep(d, payload.change)
			before := cloneEvent(step.Event)
			request, err := d.Prepare(step)
			if err != nil {
				s.prepareError(t, err, step)
				if payload.name == "JSON" {
					t.Error("plain JSON must be fit for every destination")
				}
				return
			}
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					again, err := d.Prepare(step)
					if err != nil {
						t.Errorf("a second Prepare of the same step fails: %v", err)
					} else if !reflect.DeepEqual(request, again) {
						t.Error("a second Prepare of the same step makes another request (by reflect.DeepEqual): it must depend on the step alone")
					}
				})
			}
			group.Wait()
			if !sameEvent(before, step.Event) {
				t.Error("Prepare changed the event, which other destinations share")
			}
		})
	}
	if n := p.count(); n != 0 {
		t.Errorf("Prepare sent %d requests", n)
	}
}

// prepareError checks how a step was refused.
func (s *suite) prepareError(t *testing.T, err error, step connectors.Step) {
	t.Helper()
	var refused *connectors.PrepareError
	if !errors.As(err, &refused) {
		t.Errorf("Prepare fails with a %T; it must be a *connectors.PrepareError", err)
		return
	}
	if refused.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED || refused.Message == "" {
		t.Errorf("a PrepareError must have a kind and a message; it is %+v", *refused)
	}
	text := refused.Message + refused.Code + refused.Field
	s.confidential(t, "a PrepareError", text)
	if strings.Contains(text, canary) && len(step.Event.Data) > 0 {
		t.Errorf("the payload is in a PrepareError: %s", text)
	}
}
