package graph

import (
	"testing"
	"time"
)

func TestMutation_AcknowledgesExceptions(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books")
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination) SELECT 'kopi', 'VALIDATION', id FROM destinations WHERE tenant = 'kopi' AND name = 'books'`)
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, status, closed_at) SELECT 'kopi', 'LATE', id, 'RESOLVED', now() FROM destinations WHERE tenant = 'kopi' AND name = 'books'`)
	var got struct {
		Exceptions struct {
			Nodes []struct {
				ID, Class      string
				Version        int
				AcknowledgedAt *time.Time
				Escalation     struct {
					Level, Levels int
					Told          []string
				}
			}
		}
	}
	h.get(t, "kopi", `{ exceptions { nodes { id class version acknowledgedAt escalation { level levels told } } } }`, nil, &got)
	var open, over string
	for _, n := range got.Exceptions.Nodes {
		if n.Class == "LATE" {
			over = n.ID
		} else if open = n.ID; n.AcknowledgedAt != nil || n.Escalation.Levels != 0 || n.Escalation.Told == nil {
			t.Errorf("%+v", n)
		}
	}
	type payload struct {
		Exception *struct {
			Version           int
			AcknowledgedUntil time.Time
			Timeline          struct {
				Nodes []struct{ What, Actor, Reason string }
			}
		}
		UserErrors []struct {
			Field         []string
			Message, Code string
		}
	}
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	do := func(tenant string, in map[string]any) payload {
		var p struct{ Done payload }
		h.get(t, tenant, `mutation ($in: AcknowledgeExceptionInput!) { done: acknowledgeException(input: $in) {
  exception { version acknowledgedUntil timeline { nodes { what actor reason } } } userErrors { field message code } } }`, map[string]any{"in": in}, &p)
		return p.Done
	}
	input := func(request, id string, until time.Time) map[string]any {
		return map[string]any{"requestId": request, "id": id, "until": until.Format(time.RFC3339), "reason": "on it"}
	}
	for range 2 { // the second is a repeat
		p := do("kopi", input("a1", open, soon))
		if p.Exception == nil || len(p.UserErrors) > 0 || !p.Exception.AcknowledgedUntil.Equal(soon) || p.Exception.Version != 2 {
			t.Fatalf("%+v", p)
		}
		if n := p.Exception.Timeline.Nodes; len(n) != 1 || n[0].What != "ACKNOWLEDGE" || n[0].Actor != "op-kopi" || n[0].Reason != "on it" {
			t.Errorf("the timeline says %+v", n)
		}
	}
	outdated := input("a2", open, soon)
	outdated["expectedVersion"] = 1
	for name, c := range map[string]struct {
		tenant, code string
		in           map[string]any
	}{
		"OutdatedVersion": {"kopi", "CONFLICT", outdated},
		"IsOver":          {"kopi", "REFUSED", input("a3", over, soon)},
		"InThePast":       {"kopi", "INVALID", input("a4", open, soon.Add(-48*time.Hour))},
		"TooLong":         {"kopi", "INVALID", input("a5", open, soon.Add(40*24*time.Hour))},
		"NotAnID":         {"kopi", "INVALID", input("a6", "exc_?", soon)},
		"AnotherTenants":  {"teh", "NOT_FOUND", input("a7", open, soon)},
	} {
		t.Run(name, func(t *testing.T) {
			p := do(c.tenant, c.in)
			if len(p.UserErrors) != 1 || p.UserErrors[0].Code != c.code {
				t.Errorf("%+v, want %s", p, c.code)
			}
		})
	}
}
