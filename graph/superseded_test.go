package graph

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a newer snapshot has ended, and what a platform was asked, show as such.
func TestQuery_ShowsWhatWasSupersededAndAsked(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books", "stock")
	h.exec(t, `INSERT INTO timeline (tenant, event, event_at, destination, replay, step, what, state, reason, detail)
		SELECT tenant, event, event_at, destination, 0, 0, 'supersede', 'SUPERSEDED', 'it is older', '{"supersededBy": "e9"}' FROM deliveries WHERE destination = $1`, h.destinations["books"])
	h.exec(t, `DELETE FROM deliveries WHERE destination = $1`, h.destinations["books"])
	h.exec(t, `UPDATE tallies SET superseded = 1 WHERE destination = $1`, h.destinations["books"])
	h.exec(t, `INSERT INTO timeline (tenant, event, event_at, destination, replay, attempt, step, kind, what, state, reason, detail)
		SELECT tenant, event, event_at, destination, 0, 2, 0, 0, 'attempt', 'WAITING', 'it has nothing', '{"asked": true}' FROM deliveries WHERE destination = $1`, h.destinations["stock"])
	type told struct {
		Totals       struct{ Superseded, Open int }
		Destinations []struct {
			Name              string
			Superseded, Depth int
		}
		Events struct {
			Nodes []struct {
				Deliveries []struct {
					State, Reason string
					Attempts      []struct {
						Kind   *string
						Detail map[string]any
					}
				}
			}
		}
		Timeline struct {
			Nodes []struct{ What, State string }
		}
	}
	var got told
	h.get(t, "kopi", `{
		totals { superseded open }
		destinations { name superseded depth }
		events(first: 1) { nodes { deliveries { state reason attempts { kind detail } } } }
		timeline(filter: {what: [SUPERSEDE]}, first: 5) { nodes { what state } }
	}`, nil, &got)
	if got.Totals.Superseded != 1 || got.Totals.Open != 1 {
		t.Errorf("totals %+v", got.Totals)
	}
	for _, d := range got.Destinations {
		if want := map[string][2]int{"books": {1, 0}, "stock": {0, 1}}[d.Name]; want != [2]int{d.Superseded, d.Depth} {
			t.Errorf("%+v, want %v", d, want)
		}
	}
	deliveries := got.Events.Nodes[0].Deliveries
	if len(deliveries) != 2 || deliveries[0].State != "SUPERSEDED" || deliveries[0].Reason != "it is older" {
		t.Errorf("deliveries %+v", deliveries)
	}
	if a := deliveries[1].Attempts; len(a) != 1 || a[0].Kind != nil || !cmp.Equal(a[0].Detail, map[string]any{"asked": true}) {
		t.Errorf("attempts %+v", a)
	}
	if n := got.Timeline.Nodes; len(n) != 1 || n[0].What != "SUPERSEDE" || n[0].State != "SUPERSEDED" {
		t.Errorf("timeline %+v", n)
	}
}
