package graph

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// testVerdicts are of routes without steps.
type testVerdicts struct{ *outbox.Store }

func (v testVerdicts) MarkDelivered(ctx context.Context, actor outbox.Actor, q outbox.MarkRequest) (outbox.Operated, error) {
	return v.Store.MarkDelivered(ctx, actor, q, outbox.StepUnderWay{})
}

func TestMutation_SaysWhatWasSeenAtThePlatform(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 3, "books")
	h.exec(t, `UPDATE deliveries SET state = 1, due_at = now() + interval '1 hour', requests = 1, attempts = 1, kind = 3, version = 2, unknown_at = CASE WHEN seq <> (SELECT max(seq) FROM deliveries) THEN now() END`)
	var got struct {
		Deliveries struct {
			Nodes []struct {
				ID      string
				Version int
				Steps   []struct{ State string }
			}
		}
	}
	h.get(t, "kopi", `{ deliveries(first: 10) { nodes { id version steps { state } } } }`, nil, &got)
	there, absent, known := got.Deliveries.Nodes[0], got.Deliveries.Nodes[1], got.Deliveries.Nodes[2]
	if diff := cmp.Diff([]struct{ State string }{{"CURRENT"}}, there.Steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	do := func(what, tenant string, in map[string]any) transitPayload {
		t.Helper()
		var p struct{ Done transitPayload }
		h.get(t, tenant, `mutation ($in: `+what+`!) { done: `+map[string]string{"MarkDeliveredInput": "markDelivered", "SendAnywayInput": "sendAnyway"}[what]+`(input: $in) { delivery { id state version } userErrors { field message code } } }`,
			map[string]any{"in": in}, &p)
		return p.Done
	}
	input := func(request, id string, version int, more ...any) map[string]any {
		in := map[string]any{"requestId": request, "id": id, "expectedVersion": version, "reason": "seen there"}
		for i := 0; i < len(more); i += 2 {
			in[more[i].(string)] = more[i+1]
		}
		return in
	}
	field := []map[string]any{{"name": "number", "value": "17"}}
	mark := input("m1", there.ID, 2, "externalId", "INV-17", "url", "https://books.example/17", "fields", field)
	for range 2 { // a repeat changes nothing
		if p := do("MarkDeliveredInput", "kopi", mark); len(p.UserErrors) != 0 || p.Delivery.State != "DELIVERED" || p.Delivery.Version != 0 {
			t.Fatalf("marked: %+v", p)
		}
	}
	if p := do("SendAnywayInput", "kopi", input("a1", absent.ID, 2, "acknowledgeRisk", true)); len(p.UserErrors) != 0 || p.Delivery.State != "PENDING" || p.Delivery.Version != 3 {
		t.Fatalf("sent anyway: %+v", p)
	}
	for name, c := range map[string]struct {
		what, tenant string
		in           map[string]any
		code, field  string
	}{
		"RiskNotKnown":    {"SendAnywayInput", "kopi", input("r1", known.ID, 2, "acknowledgeRisk", false), "INVALID", "acknowledgeRisk"},
		"NothingUnknown":  {"SendAnywayInput", "kopi", input("r2", known.ID, 2, "acknowledgeRisk", true), "REFUSED", ""},
		"NoName":          {"MarkDeliveredInput", "kopi", input("r3", known.ID, 2, "externalId", " "), "INVALID", "externalId"},
		"FieldTwice":      {"MarkDeliveredInput", "kopi", input("r4", known.ID, 2, "externalId", "I", "fields", append(field, field...)), "INVALID", "fields"},
		"OutdatedVersion": {"MarkDeliveredInput", "kopi", input("r5", known.ID, 1, "externalId", "I"), "CONFLICT", "expectedVersion"},
		"NotFailed":       {"MarkDeliveredInput", "kopi", input("r6", absent.ID, 3, "externalId", "I"), "REFUSED", ""},
		"IsOver":          {"MarkDeliveredInput", "kopi", input("r7", there.ID, 2, "externalId", "I"), "REFUSED", ""},
		"AnotherTenants":  {"MarkDeliveredInput", "teh", input("r8", known.ID, 2, "externalId", "I"), "NOT_FOUND", "id"},
	} {
		p := do(c.what, c.tenant, c.in)
		if len(p.UserErrors) != 1 || p.UserErrors[0].Code != c.code || p.UserErrors[0].Message == "" {
			t.Errorf("%s: %+v, want code %s", name, p, c.code)
		} else if f := p.UserErrors[0].Field; c.field == "" && f != nil || c.field != "" && (len(f) != 2 || f[1] != c.field) {
			t.Errorf("%s: field %v, want %s", name, f, c.field)
		}
	}
	var audit struct {
		Timeline struct {
			Nodes []struct {
				What, Actor, Reason, State string
				Detail                     *struct {
					ExternalID string `json:"externalId"`
					Fields     map[string]string
				}
			}
		}
		Delivery struct {
			State    string
			LastKind string
			Steps    []struct {
				State   string
				Done    bool
				Receipt struct{ ExternalID, URL string }
			}
		}
	}
	h.get(t, "kopi", `query ($id: ID!) { timeline(filter: {what: [FOUND, RESEND]}, first: 10) { nodes { what actor reason state detail } }
		delivery(id: $id) { state lastKind steps { state done receipt { externalId url } } } }`, map[string]any{"id": there.ID}, &audit)
	if n := audit.Timeline.Nodes; len(n) != 2 || n[0].What != "RESEND" || n[0].Actor != "op-kopi" || n[1].What != "FOUND" || n[1].State != "DELIVERED" || n[1].Detail == nil || n[1].Detail.ExternalID != "INV-17" || n[1].Detail.Fields["number"] != "17" {
		t.Errorf("the audit says %+v", n)
	}
	d := audit.Delivery
	if d.State != "DELIVERED" || d.LastKind != "DELIVERED" || len(d.Steps) != 1 || d.Steps[0].State != "DONE" || !d.Steps[0].Done || d.Steps[0].Receipt.ExternalID != "INV-17" || d.Steps[0].Receipt.URL == "" {
		t.Errorf("the delivery is %+v", d)
	}
}

func TestMutation_ResetsShadows(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books")
	h.exec(t, `INSERT INTO shadow_findings (tenant, route, destination, prospect, class, code, seen, event, event_at)
		SELECT tenant, r, destination, 'HOLD', c, c, 3, event, event_at FROM deliveries, unnest(ARRAY['sales', 'stock']) r, unnest(ARRAY['', 'SKU_UNMAPPED']) c`)
	type payload struct {
		Forgotten  int
		UserErrors []struct{ Code string }
	}
	reset := func(tenant, request string, route any, reason string) payload {
		t.Helper()
		var p struct{ ResetShadow payload }
		h.get(t, tenant, `mutation ($in: ResetShadowInput!) { resetShadow(input: $in) { forgotten userErrors { code } } }`,
			map[string]any{"in": map[string]any{"requestId": request, "route": route, "reason": reason}}, &p)
		return p.ResetShadow
	}
	left := func() (routes []string) {
		t.Helper()
		var p struct{ ShadowFindings []struct{ Route string } }
		h.get(t, "kopi", `{ shadowFindings { route } }`, nil, &p)
		for _, f := range p.ShadowFindings {
			routes = append(routes, f.Route)
		}
		return routes
	}
	if p := reset("teh", "r0", nil, "not theirs"); p.Forgotten != 0 || len(left()) != 4 {
		t.Errorf("another tenant: %+v, %v are left", p, left())
	}
	if p := reset("kopi", "r1", "sales", " "); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "INVALID" {
		t.Errorf("without a reason: %+v", p)
	}
	for range 2 {
		if p := reset("kopi", "r1", "sales", "mapped now"); p.Forgotten != 2 {
			t.Errorf("forgotten: %+v", p)
		}
	}
	if diff := cmp.Diff([]string{"stock", "stock"}, left()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if p := reset("kopi", "r2", nil, "all of it"); p.Forgotten != 2 || len(left()) != 0 {
		t.Errorf("all: %+v, %v are left", p, left())
	}
	var audit struct {
		Timeline struct {
			Nodes []struct {
				Actor, Reason string
				Detail        struct {
					Route                 *string
					Forgotten, Deliveries int
				}
			}
		}
	}
	h.get(t, "kopi", `{ timeline(filter: {what: [SHADOW]}, first: 10) { nodes { actor reason detail } } }`, nil, &audit)
	if n := audit.Timeline.Nodes; len(n) != 2 || n[1].Actor != "op-kopi" || n[1].Reason != "mapped now" || *n[1].Detail.Route != "sales" || n[1].Detail.Forgotten != 2 || n[1].Detail.Deliveries != 3 || n[0].Detail.Route != nil {
		t.Errorf("the audit says %+v", n)
	}
}
