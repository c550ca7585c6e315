package graph

import (
	"testing"
)

func TestMutation_HoldsAndLetsGo(t *testing.T) {
	h := openHouse(t, nil)
	type payload struct {
		Control    *struct{ Kind, Name, State, Reason, Actor string }
		UserErrors []struct {
			Field         []string
			Message, Code string
		}
	}
	do := func(what, input, tenant string, in map[string]any) payload {
		var p struct{ Done payload }
		h.get(t, tenant, `mutation ($in: `+input+`!) { done: `+what+`(input: $in) { control { kind name state reason actor } userErrors { field message code } } }`,
			map[string]any{"in": in}, &p)
		return p.Done
	}
	pause := func(request, kind, name string) map[string]any {
		return map[string]any{"requestId": request, "kind": kind, "name": name, "reason": "stocktaking"}
	}
	order := func(request, order string) map[string]any {
		return map[string]any{"requestId": request, "destination": "books", "order": order, "reason": "they asked"}
	}
	for range 2 { // the second time is a repeat
		p := do("pause", "PauseInput", "kopi", pause("p1", "DESTINATION", "books"))
		if p.Control == nil || len(p.UserErrors) != 0 || p.Control.State != "PAUSED" || p.Control.Actor != "op-kopi" || p.Control.Kind != "DESTINATION" {
			t.Fatalf("paused: %+v", p)
		}
	}
	if p := do("forceBreaker", "ForceBreakerInput", "kopi", order("b1", "OPEN")); p.Control == nil || p.Control.State != "OPEN" {
		t.Fatalf("held open: %+v", p)
	}
	if p := do("pause", "PauseInput", "kopi", pause("p2", "SOURCE", "till")); p.Control == nil {
		t.Fatalf("paused: %+v", p)
	}
	for name, c := range map[string]struct {
		what, input, tenant string
		in                  map[string]any
		code, field         string
	}{
		"Already":        {"pause", "PauseInput", "kopi", pause("p3", "DESTINATION", "books"), "REFUSED", ""},
		"NoSuchThing":    {"pause", "PauseInput", "kopi", pause("p4", "ROUTE", "books"), "NOT_FOUND", "name"},
		"AnotherTenants": {"pause", "PauseInput", "teh", pause("p5", "DESTINATION", "books"), "NOT_FOUND", "name"},
		"NoReason":       {"pause", "PauseInput", "kopi", map[string]any{"requestId": "p6", "kind": "SOURCE", "name": "till", "reason": ""}, "INVALID", "reason"},
		"NulInTheName":   {"pause", "PauseInput", "kopi", pause("p7", "SOURCE", "ti\x00ll"), "INVALID", "name"},
		"NoBreaker":      {"forceBreaker", "ForceBreakerInput", "teh", order("b2", "OPEN"), "NOT_FOUND", "destination"},
	} {
		t.Run(name, func(t *testing.T) {
			p := do(c.what, c.input, c.tenant, c.in)
			if len(p.UserErrors) != 1 || p.UserErrors[0].Code != c.code {
				t.Fatalf("%+v, want code %s", p, c.code)
			}
			if f := p.UserErrors[0].Field; c.field == "" && f != nil || c.field != "" && (len(f) != 2 || f[1] != c.field) {
				t.Errorf("field %v, want %s", f, c.field)
			}
		})
	}
	var seen struct {
		Controls     []struct{ Kind, Name string }
		Destinations []struct {
			Name    string
			Paused  *struct{ Actor, Reason string }
			Breaker struct {
				State  string
				Forced *struct{ Reason string }
			}
		}
		Sources []struct {
			Name   string
			Paused *struct{ Reason string }
		}
		Timeline struct {
			Nodes []struct{ What, Actor string }
		}
	}
	h.get(t, "kopi", `{ controls { kind name } destinations { name paused { actor reason } breaker { state forced { reason } } }
		sources { name paused { reason } } timeline(filter: {what: [PAUSE, RESUME, BREAKER]}) { nodes { what actor } } }`, nil, &seen)
	if len(seen.Controls) != 3 || len(seen.Timeline.Nodes) != 3 || len(seen.Sources) != 1 || seen.Sources[0].Paused == nil {
		t.Errorf("it shows %+v", seen)
	}
	if d := seen.Destinations[0]; d.Name != "books" || d.Paused == nil || d.Paused.Reason != "stocktaking" || d.Breaker.State != "OPEN" || d.Breaker.Forced == nil {
		t.Errorf("the destination shows %+v", d)
	}
	if p := do("resume", "PauseInput", "kopi", pause("r1", "DESTINATION", "books")); p.Control != nil || len(p.UserErrors) != 0 {
		t.Errorf("resumed: %+v", p)
	}
	if p := do("forceBreaker", "ForceBreakerInput", "kopi", order("b3", "AUTOMATIC")); p.Control != nil || len(p.UserErrors) != 0 {
		t.Errorf("automatic again: %+v", p)
	}
}
