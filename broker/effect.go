package broker

import (
	"context"
	"fmt"

	"raffsync/connectors/mapping"
	"raffsync/outbox"
)

// Effect names what a step of a route brings about for an event. An error quotes nothing of
// the event.
type Effect func(*outbox.Event) (string, error)

// CompileEffect compiles the name of an effect, a text with ${…} over event and body; nil
// where the step names none. Its error is a [*mapping.SyntaxError] wherever an expression is
// at fault, with the place in the text.
//
// Which effect an event has may not depend on anything but the event, lest two of them be
// made of one: what the platform gave in earlier steps, and what mapping tables say, is
// refused.
func CompileEffect(text string) (Effect, error) {
	if text == "" {
		return nil, nil
	}
	compiled, err := mapping.CompileText(text, mapping.Events().Without(
		"the name of an effect is made of the event alone, lest one that comes by another event, or another day, has another name",
		"steps", "existing", "lookup", "reference"))
	if err != nil {
		return nil, err
	}
	return func(e *outbox.Event) (string, error) {
		var seen view
		event, body := seen.of(e)
		name, _, err := compiled.Render(context.Background(), &mapping.Scope{Event: event, Body: body, Outlet: mapping.Outlet{Name: e.Outlet}, Tenant: e.Tenant})
		if err != nil {
			return "", err
		}
		return name, outbox.CheckEffect(name)
	}, nil
}

// checkSteps compiles what a route's steps bring about. Two of them may not bring about the
// same: the second would find what the first has made.
func checkSteps(steps []outbox.StepConfig, fault func(field string, err error)) {
	named := make(map[string]string)
	for i, s := range steps {
		field := fmt.Sprintf("steps[%d].effect", i)
		if _, err := CompileEffect(s.Effect); err != nil {
			fault(field, err)
		}
		if first, twice := named[s.Effect]; twice && s.Effect != "" {
			fault(field, fmt.Errorf("step %q names the same effect; name what each of them brings about", first))
		}
		named[s.Effect] = s.Name
	}
}
