package view

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStepsOf(t *testing.T) {
	entry := func(step int16, what string, kind int16, state, detail string) *Entry {
		return &Entry{What: what, Step: &step, Kind: &kind, State: &state, Detail: json.RawMessage(detail)}
	}
	for name, c := range map[string]struct {
		oldestFirst []*Entry
		want        []string
	}{
		"nothing yet": {},
		"one step without a name": {
			[]*Entry{entry(0, "attempt", 2, "WAITING", ""), entry(0, "attempt", 1, "DELIVERED", `{"status": 200, "externalId": "INV-1"}`)},
			[]string{`0 "" "" true 2 INV-1`},
		},
		"in the middle": {
			[]*Entry{
				entry(0, "attempt", 3, "WAITING", `{"step": "order", "effect": "order/1"}`),
				entry(0, "attempt", 1, "PENDING", `{"step": "order", "effect": "order/1", "externalId": "SO-1", "asked": true}`),
				entry(1, "attempt", 2, "WAITING", `{"step": "invoice", "effect": "invoice/1"}`),
			},
			[]string{`0 "order" "order/1" true 2 SO-1`, `1 "invoice" "invoice/1" false 1 none`},
		},
		"there already": {
			[]*Entry{
				entry(0, "effect", 1, "PENDING", `{"step": "order", "effect": "order/1", "externalId": "SO-1"}`),
				entry(1, "effect", 1, "DELIVERED", `{"step": "invoice", "effect": "invoice/1", "url": "https://x"}`),
			},
			[]string{`0 "order" "order/1" true 0 SO-1`, `1 "invoice" "invoice/1" true 0 https://x`},
		},
		"skipped by an operator, and a detail that is none": {
			[]*Entry{entry(0, "attempt", 5, "NEEDS_ACTION", `[]`), {What: "skip"}},
			[]string{`0 "" "" false 1 none`},
		},
	} {
		var newest []*Entry
		for _, e := range c.oldestFirst {
			newest = append([]*Entry{e}, newest...)
		}
		var got []string
		for _, s := range stepsOf(newest) {
			receipt := "none"
			if s.Receipt != nil {
				receipt = s.Receipt.ExternalID + s.Receipt.URL
			}
			got = append(got, fmt.Sprintf("%d %q %q %v %d %s", s.Index, s.Name, s.Effect, s.Done, len(s.Attempts), receipt))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWithState(t *testing.T) {
	step := func(i int16, name string, done bool) *Step { return &Step{Index: i, Name: name, Done: done} }
	three := []string{"order", "confirm", "invoice"}
	for name, c := range map[string]struct {
		begun []*Step
		of    StepsOf
		names []string
		want  []string
	}{
		"nothing begun":                     {nil, StepsOf{Route: "sales"}, three, []string{"0 order CURRENT", "1 confirm NOT_BEGUN", "2 invoice NOT_BEGUN"}},
		"in the middle":                     {[]*Step{step(0, "order", true), step(1, "confirm", false)}, StepsOf{Route: "sales", Step: 1}, three, []string{"0 order DONE", "1 confirm CURRENT", "2 invoice NOT_BEGUN"}},
		"the next is not begun":             {[]*Step{step(0, "order", true)}, StepsOf{Route: "sales", Step: 1}, three, []string{"0 order DONE", "1 confirm CURRENT", "2 invoice NOT_BEGUN"}},
		"a route without steps":             {nil, StepsOf{Route: "plain"}, nil, []string{"0  CURRENT"}},
		"it has ended":                      {[]*Step{step(0, "order", true), step(1, "confirm", true), step(2, "invoice", true)}, StepsOf{}, nil, []string{"0 order DONE", "1 confirm DONE", "2 invoice DONE"}},
		"it was skipped":                    {[]*Step{step(0, "order", true), step(1, "confirm", false)}, StepsOf{}, nil, []string{"0 order DONE", "1 confirm ENDED"}},
		"it was skipped before it began":    {nil, StepsOf{}, nil, nil},
		"its route has fewer steps by now":  {[]*Step{step(0, "order", true), step(1, "confirm", false)}, StepsOf{Route: "sales", Step: 1}, []string{"order"}, []string{"0 order DONE", "1 confirm CURRENT"}},
		"its first attempt is not over yet": {[]*Step{step(0, "", false)}, StepsOf{Route: "sales"}, []string{"order"}, []string{"0 order CURRENT"}},
	} {
		var got []string
		for _, s := range withState(c.begun, c.of, c.names) {
			got = append(got, fmt.Sprintf("%d %s %s", s.Index, s.Name, s.State))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
