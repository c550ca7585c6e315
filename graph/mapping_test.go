package graph

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

type mappingPayload struct {
	Change *struct {
		Version                            int
		Added, Changed, Removed, Unchanged int
	}
	Repeated    int
	Differences []struct {
		Table, Destination, Value string
		From, To                  *string
	}
	UserErrors []struct {
		Field         []string
		Message, Code string
	}
}

func (p mappingPayload) String() string {
	if p.Change == nil {
		e := p.UserErrors[0]
		return fmt.Sprintf("%s %s: %s", e.Code, strings.Join(e.Field, "."), e.Message)
	}
	c := p.Change
	return fmt.Sprintf("v%d +%d ~%d -%d =%d", c.Version, c.Added, c.Changed, c.Removed, c.Unchanged)
}

// change runs a mutation of mappings, as the tenant.
func (h *house) change(t *testing.T, tenant, what string, in map[string]any) mappingPayload {
	t.Helper()
	fields := "change { version added changed removed unchanged } userErrors { field message code }"
	if what == "importMapping" {
		fields += " repeated differences { table destination value from to }"
	}
	request := map[string]any{"reason": "new item", "table": "sku", "destination": "stock"}
	maps.Copy(request, in)
	var p struct{ Done mappingPayload }
	h.get(t, tenant, `mutation ($in: `+strings.ToUpper(what[:1])+what[1:]+`Input!) { done: `+what+`(input: $in) { `+fields+` } }`, map[string]any{"in": request}, &p)
	return p.Done
}

func pairs(all ...string) (list []map[string]any) {
	for _, pair := range all {
		value, target, _ := strings.Cut(pair, "=")
		list = append(list, map[string]any{"value": value, "target": target})
	}
	return list
}

func TestMutation_ChangesMappings(t *testing.T) {
	h := openHouse(t, nil)
	for _, c := range []struct {
		tenant, what string
		in           map[string]any
		want         string
	}{
		{"kopi", "setMapping", map[string]any{"requestId": "1", "entries": pairs("LATTE=ITM-1", "latte=ITM-2")}, "v1 +2 ~0 -0 =0"},
		{"kopi", "setMapping", map[string]any{"requestId": "2", "entries": pairs("LATTE=ITM-9"), "expectedVersion": 1}, "v2 +0 ~1 -0 =0"},
		{"kopi", "setMapping", map[string]any{"requestId": "1", "entries": pairs("LATTE=ITM-1", "latte=ITM-2")}, "v1 +2 ~0 -0 =0"}, // the first answer
		{"kopi", "setMapping", map[string]any{"requestId": "3", "entries": pairs("LATTE=ITM-7"), "expectedVersion": 1}, "CONFLICT input.expectedVersion: an entry has changed"},
		{"kopi", "setMapping", map[string]any{"requestId": "4", "entries": pairs("A=")}, "INVALID input.entries: entry 1: the target is empty"},
		{"kopi", "setMapping", map[string]any{"requestId": "5", "entries": pairs("A=1"), "table": "No such!"}, "INVALID input.table: "},
		{"kopi", "setMapping", map[string]any{"requestId": "6", "entries": pairs("A=1"), "reason": " "}, "INVALID input.reason: "},
		{"teh", "setMapping", map[string]any{"requestId": "7", "entries": pairs("A=1")}, `INVALID input.destination: there is no destination "stock"`},
		{"teh", "setMapping", map[string]any{"requestId": "8", "entries": pairs("A=1"), "destination": nil}, "v1 +1 ~0 -0 =0"},
		{"kopi", "setMappingDefault", map[string]any{"requestId": "9", "target": "MISC", "destination": nil}, "v3 +1 ~0 -0 =0"},
		{"kopi", "setMappingDefault", map[string]any{"requestId": "10", "target": ""}, "INVALID input.target: "},
		{"kopi", "setMappingDefault", map[string]any{"requestId": "11"}, "INVALID input.target: table sku of stock has no default"},
		{"kopi", "removeMapping", map[string]any{"requestId": "12", "values": []string{"latte"}}, "v4 +0 ~0 -1 =0"},
		{"kopi", "removeMapping", map[string]any{"requestId": "13", "values": []string{"latte"}}, `INVALID input.values: table sku of stock has no entry for "latte"`},
		{"kopi", "removeMapping", map[string]any{"requestId": "14"}, "INVALID input.values: there is nothing to remove"},
		{"kopi", "importMapping", map[string]any{"requestId": "15", "text": "value,target\nMOCHA,ITM-3\nMOCHA,ITM-3\nLATTE,ITM-9\n"}, "v5 +1 ~0 -0 =1"},
		{"kopi", "importMapping", map[string]any{"requestId": "16", "text": "value,target\n,ITM-3\n"}, "INVALID input.text: line 2: the value is empty"},
		{"kopi", "importMapping", map[string]any{"requestId": "17", "table": nil, "destination": nil, "text": "table,destination,value,target\ntax,books,VAT,T1\n"}, "v6 +1 ~0 -0 =0"},
		{"kopi", "removeMapping", map[string]any{"requestId": "18", "table": "tax", "destination": "books", "all": true}, "v7 +0 ~0 -1 =0"},
	} {
		if p := h.change(t, c.tenant, c.what, c.in); !strings.HasPrefix(p.String(), c.want) {
			t.Errorf("%s %v as %s: %s, want %s", c.what, c.in, c.tenant, p, c.want)
		}
	}
	p := h.change(t, "kopi", "importMapping", map[string]any{"requestId": "", "dryRun": true, "replace": true, "text": "value;target\nTEA;ITM-4\nLATTE;ITM-9\nTEA;ITM-4"})
	if p.String() != "v7 +1 ~0 -1 =1" || p.Repeated != 1 || len(p.Differences) != 2 {
		t.Fatalf("a dry run: %+v", p)
	}
	if d := p.Differences; d[0].Value != "MOCHA" || d[0].To != nil || *d[0].From != "ITM-3" || d[1].Value != "TEA" || d[1].From != nil || *d[1].To != "ITM-4" || d[1].Destination != "stock" {
		t.Errorf("it tells of %+v", d)
	}
}

func TestQuery_Mappings(t *testing.T) {
	h := openHouse(t, nil)
	h.change(t, "kopi", "setMapping", map[string]any{"requestId": "1", "entries": pairs("LATTE=ITM-1", "MOCHA=ITM-2", "LATTE-OATS=ITM-42")})
	h.change(t, "kopi", "setMapping", map[string]any{"requestId": "2", "entries": pairs("LATTE=ITM-9"), "reason": "a better one"})
	h.change(t, "kopi", "setMappingDefault", map[string]any{"requestId": "3", "target": "MISC", "destination": nil})
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, rule, field, code, held) VALUES ('kopi', 'SKU_UNMAPPED', $1, 'look-up', 'sku', 'LATTE-OAT', 6)`, h.destinations["stock"])
	var got struct {
		MappingTables []struct {
			Name, Destination, Default, Reason string
			Entries, Version                   int
		}
		Mapping struct {
			Version int
			Table   struct{ Entries int }
			Nodes   []struct {
				Value, Target, Actor, Reason string
				Version                      int
			}
			PageInfo struct {
				EndCursor   string
				HasNextPage bool
			}
		}
		None, Shared struct {
			Table *struct{ Default string }
			Nodes []struct{ Value string }
		}
		Searched       struct{ Nodes []struct{ Value string } }
		MappingHistory struct {
			Nodes []struct {
				Value, From, To, Destination *string
				Version                      int
				Reason                       string
			}
		}
		Of          struct{ Nodes []struct{ To string } }
		MappingGaps struct {
			Nodes []struct {
				Table, Destination, Value string
				HeldCount                 int
				Exception                 struct{ Class string }
				Suggestions               []struct{ Value, Label string }
			}
		}
		Timeline struct {
			Nodes []struct {
				What, Actor, Reason string
				Detail              map[string]any
			}
		}
	}
	h.get(t, "kopi", `{
		mappingTables { name destination default entries version reason }
		mapping(table: "sku", destination: "stock", first: 2) { version table { entries } nodes { value target version actor reason } pageInfo { endCursor hasNextPage } }
		none: mapping(table: "skus") { table { default } nodes { value } }
		shared: mapping(table: "sku") { table { default } nodes { value } }
		searched: mapping(table: "sku", destination: "stock", search: "oat") { nodes { value } }
		mappingHistory { nodes { value from to destination version reason } }
		of: mappingHistory(table: "sku", destination: "stock", value: "LATTE") { nodes { to } }
		mappingGaps { nodes { table destination value heldCount exception { class } suggestions { value label } } }
		timeline(filter: {what: [MAPPING]}) { nodes { what actor reason detail } }
	}`, nil, &got)
	if len(got.MappingTables) != 2 || got.MappingTables[0].Default != "MISC" || got.MappingTables[0].Destination != "" || got.MappingTables[1].Entries != 3 || got.MappingTables[1].Reason != "a better one" {
		t.Errorf("tables: %+v", got.MappingTables)
	}
	m := got.Mapping
	if m.Version != 3 || m.Table.Entries != 3 || len(m.Nodes) != 2 || m.Nodes[0].Target != "ITM-9" || m.Nodes[0].Version != 2 || m.Nodes[0].Actor != "op-kopi" || !m.PageInfo.HasNextPage {
		t.Errorf("a table: %+v", m)
	}
	if got.None.Table != nil || got.Shared.Table == nil || len(got.Shared.Nodes) != 0 || len(got.Searched.Nodes) != 1 {
		t.Errorf("none %+v, the default only %+v, searched %+v", got.None, got.Shared, got.Searched)
	}
	if n := got.MappingHistory.Nodes; len(n) != 5 || n[0].Value != nil || *n[0].To != "MISC" || *n[1].From != "ITM-1" || *n[1].To != "ITM-9" || n[1].Reason != "a better one" || n[4].From != nil {
		t.Errorf("history: %+v", n)
	}
	if n := got.Of.Nodes; len(n) != 2 || n[1].To != "ITM-1" {
		t.Errorf("history of a value: %+v", n)
	}
	if n := got.MappingGaps.Nodes; len(n) != 1 || n[0].Value != "LATTE-OAT" || n[0].HeldCount != 6 || n[0].Exception.Class != "SKU_UNMAPPED" || len(n[0].Suggestions) != 1 || n[0].Suggestions[0].Value != "ITM-42" || n[0].Suggestions[0].Label != "LATTE-OATS → ITM-42" {
		t.Errorf("gaps: %+v", n)
	}
	if n := got.Timeline.Nodes; len(n) != 3 || n[0].Detail["default"] != true || n[1].Detail["to"] != "ITM-9" || n[2].Detail["added"] != float64(3) {
		t.Errorf("timeline: %+v", n)
	}
	var next struct {
		Mapping struct{ Nodes []struct{ Value string } }
	}
	h.get(t, "kopi", `query ($after: String) { mapping(table: "sku", destination: "stock", after: $after) { nodes { value } } }`, map[string]any{"after": m.PageInfo.EndCursor}, &next)
	if len(next.Mapping.Nodes) != 1 || next.Mapping.Nodes[0].Value != "MOCHA" {
		t.Errorf("the next page: %+v", next)
	}
	for query, code := range map[string]string{
		`{ mapping(table: "sku", destination: "shelf") { version } }`: codeBadInput,
		`{ mapping(table: "sku", first: 101) { version } }`:           codeBadInput,
		`{ mapping(table: "sku", after: "x") { version } }`:           codeBadInput,
		`{ mappingHistory(value: "LATTE") { nodes { version } } }`:    codeBadInput,
		`{ mappingGaps(destination: "shelf") { nodes { value } } }`:   codeBadInput,
	} {
		if a := h.ask(t, "kopi", query, nil); a.code() != code {
			t.Errorf("%s: %+v, want %s", query, a.Errors, code)
		}
	}
	var teh struct {
		MappingTables []struct{ Name string }
		MappingGaps   struct{ Nodes []struct{ Value string } }
	}
	h.get(t, "teh", `{ mappingTables { name } mappingGaps { nodes { value } } }`, nil, &teh)
	if len(teh.MappingTables)+len(teh.MappingGaps.Nodes) != 0 {
		t.Errorf("another tenant sees %+v", teh)
	}
}
