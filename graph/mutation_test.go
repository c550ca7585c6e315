package graph

import (
	"testing"
)

type transitPayload struct {
	Delivery *struct {
		ID, State string
		Version   int
	}
	UserErrors []struct {
		Field         []string
		Message, Code string
	}
}

func TestMutation_TransitsDeliveries(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 3, "books")
	h.exec(t, `UPDATE deliveries SET state = 1, due_at = now() + interval '1 hour', requests = 1, attempts = 1, kind = 2, version = 2 WHERE seq <> (SELECT max(seq) FROM deliveries)`)
	var got struct {
		Deliveries struct {
			Nodes []struct {
				ID      string
				Version int
			}
		}
	}
	h.get(t, "kopi", `{ deliveries(first: 10) { nodes { id version } } }`, nil, &got)
	first, second, fresh := got.Deliveries.Nodes[0], got.Deliveries.Nodes[1], got.Deliveries.Nodes[2]
	do := func(what, tenant string, in map[string]any) transitPayload {
		var p struct{ Done transitPayload }
		h.get(t, tenant, `mutation ($in: DeliveryTransitionInput!) { done: `+what+`(input: $in) { delivery { id state version } userErrors { field message code } } }`,
			map[string]any{"in": in}, &p)
		return p.Done
	}
	input := func(request, id string, version int) map[string]any {
		return map[string]any{"requestId": request, "id": id, "expectedVersion": version, "reason": "by hand"}
	}
	retried := do("retryDelivery", "kopi", input("r1", first.ID, first.Version))
	if retried.Delivery == nil || len(retried.UserErrors) != 0 || retried.Delivery.State != "PENDING" || retried.Delivery.Version != first.Version+1 {
		t.Fatalf("retried: %+v", retried)
	}
	if again := do("retryDelivery", "kopi", input("r1", first.ID, first.Version)); len(again.UserErrors) != 0 || again.Delivery.Version != first.Version+1 {
		t.Errorf("the same request again: %+v", again)
	}
	skipped := do("skipDelivery", "kopi", input("s1", second.ID, second.Version))
	if skipped.Delivery == nil || skipped.Delivery.State != "SKIPPED" || skipped.Delivery.Version != 0 {
		t.Fatalf("skipped: %+v", skipped)
	}
	for name, c := range map[string]struct {
		what, tenant string
		in           map[string]any
		code         string
		field        string
	}{
		"OutdatedVersion": {"retryDelivery", "kopi", input("r2", first.ID, first.Version), "CONFLICT", "expectedVersion"},
		"NotFailed":       {"retryDelivery", "kopi", input("r8", fresh.ID, fresh.Version), "REFUSED", ""},
		"IsOver":          {"retryDelivery", "kopi", input("r3", second.ID, 1), "REFUSED", ""},
		"NoReason":        {"skipDelivery", "kopi", map[string]any{"requestId": "r4", "id": first.ID, "expectedVersion": 2, "reason": " "}, "INVALID", "reason"},
		"NoRequestID":     {"skipDelivery", "kopi", input("", first.ID, 2), "INVALID", "requestId"},
		"RequestIDReused": {"skipDelivery", "kopi", input("r1", first.ID, 2), "INVALID", "requestId"},
		"NotAnID":         {"skipDelivery", "kopi", input("r5", "dlv_x", 2), "INVALID", "id"},
		"NegativeVersion": {"skipDelivery", "kopi", input("r6", first.ID, -1), "INVALID", "expectedVersion"},
		"AnotherTenants":  {"skipDelivery", "teh", input("r7", first.ID, 2), "NOT_FOUND", "id"},
	} {
		t.Run(name, func(t *testing.T) {
			p := do(c.what, c.tenant, c.in)
			if len(p.UserErrors) != 1 || p.UserErrors[0].Code != c.code || p.UserErrors[0].Message == "" {
				t.Fatalf("%+v, want code %s", p, c.code)
			}
			if f := p.UserErrors[0].Field; c.field == "" && f != nil || c.field != "" && (len(f) != 2 || f[0] != "input" || f[1] != c.field) {
				t.Errorf("field %v, want %s", f, c.field)
			}
			if c.tenant == "teh" && p.Delivery != nil {
				t.Errorf("another tenant's delivery is shown: %+v", p.Delivery)
			}
		})
	}
	var audit struct {
		Timeline struct {
			Nodes []struct{ What, Actor, Reason string }
		}
	}
	h.get(t, "kopi", `{ timeline(filter: {what: [RETRY, SKIP]}, first: 10) { nodes { what actor reason } } }`, nil, &audit)
	if n := audit.Timeline.Nodes; len(n) != 2 || n[0].What != "SKIP" || n[0].Actor != "op-kopi" || n[0].Reason != "by hand" || n[1].What != "RETRY" {
		t.Errorf("the audit says %+v", n)
	}
}
