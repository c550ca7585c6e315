package main

import (
	"context"
	"fmt"
	"strings"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

// toldStep is what is told of a step.
type toldStep struct {
	Name     string          `json:"name"`
	State    string          `json:"state"`
	Effect   string          `json:"effect,omitempty"`
	Done     bool            `json:"done"`
	Attempts int             `json:"attempts"`
	Receipt  *outbox.Receipt `json:"receipt,omitempty"`
}

// stepsOfAll tells of the steps of deliveries whose routes name them.
func stepsOfAll(ctx context.Context, tx *view.Tx, deliveries map[outbox.EventID][]*view.Delivery) (map[outbox.DeliveryID][]toldStep, error) {
	var asked []view.StepsOf
	for _, all := range deliveries {
		for _, d := range all {
			asked = append(asked, d.StepsOf())
		}
	}
	found, err := tx.Steps(ctx, asked)
	if err != nil {
		return nil, err
	}
	told := make(map[outbox.DeliveryID][]toldStep)
	for i, steps := range found {
		for _, s := range steps {
			if s.Name != "" {
				ref := asked[i].Delivery
				told[ref] = append(told[ref], toldStep{Name: s.Name, State: s.State, Effect: s.Effect, Done: s.Done, Attempts: len(s.Attempts), Receipt: s.Receipt})
			}
		}
	}
	return told, nil
}

// words are a line: "order  done, order/1042 is SO-17 (https://…)".
func (s *toldStep) words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s ", s.Name)
	switch {
	case s.State == view.StepNotBegun:
		b.WriteString("not begun")
	case s.Done && s.Attempts == 0:
		b.WriteString("was there already")
	case s.Done:
		b.WriteString("done")
	default:
		fmt.Fprintf(&b, "not done, %s", counted(s.Attempts, "attempt"))
	}
	if s.Effect != "" {
		fmt.Fprintf(&b, ", %s", s.Effect)
	}
	if r := s.Receipt; r != nil && r.ExternalID != "" {
		fmt.Fprintf(&b, " is %s", r.ExternalID)
	}
	if r := s.Receipt; r != nil && r.URL != "" {
		fmt.Fprintf(&b, " (%s)", r.URL)
	}
	return b.String()
}
