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
