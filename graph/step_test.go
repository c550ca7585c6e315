package graph

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Steps show with their effects, receipts and attempts; an effect with who brought it; and
// a delivery that waits for another one's effect, with that.
func TestQuery_ShowsStepsAndEffects(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books", "stock")
	books, stock := h.destinations["books"], h.destinations["stock"]
	h.exec(t, `INSERT INTO timeline (tenant, at, event, event_at, destination, replay, attempt, step, kind, what, state, reason, detail)
		SELECT tenant, now() + n * interval '1 ms', event, event_at, destination, 0, a, s, k, w, st, '', dt::jsonb FROM deliveries,
		(VALUES (1, 1, 0::smallint, 3::smallint, 'attempt', 'WAITING', '{"step": "order", "effect": "order/1"}'),
		        (2, 2, 0, 1, 'attempt', 'PENDING', '{"step": "order", "effect": "order/1", "externalId": "SO-1", "fields": {"number": "7"}}'),
		        (3, NULL, 1, 1, 'effect', 'PENDING', '{"step": "invoice", "effect": "invoice/1", "url": "https://x"}')) AS v(n, a, s, k, w, st, dt)
		WHERE destination = $1`, books)
	h.exec(t, `UPDATE deliveries SET step = 2 WHERE destination = $1`, books)
	h.exec(t, `INSERT INTO effects (tenant, destination, effect, revision, external_id, fields, source, event, at)
		SELECT 'kopi', $1, 'order/1', 2, 'SO-1', '{"number": "7"}', 'till', 'e1', now()`, books)
	h.publish(t, "kopi", 1, "stock")
	h.exec(t, `INSERT INTO effects (tenant, destination, effect, lane, seq, claimed_at) SELECT tenant, destination, 'stock/1', lane, seq, now() FROM deliveries WHERE destination = $1 ORDER BY seq LIMIT 1`, stock)
	h.exec(t, `INSERT INTO effect_waits (tenant, destination, effect, lane, seq, key_hash) SELECT tenant, destination, 'stock/1', lane, seq, key_hash FROM deliveries WHERE destination = $1 ORDER BY seq DESC LIMIT 1`, stock)
	type receipt struct {
		ExternalID, URL string
		Fields          []struct{ Name, Value string }
	}
	type delivery struct {
		ID      string
		State   string
		Waiting *struct {
			Reason    string
			BlockedBy *struct{ ID string }
		}
		Destination struct{ Name string }
		Steps       []struct {
			Index        int
			Name, Effect string
			Done         bool
			Receipt      *receipt
			Attempts     []struct{ State string }
		}
	}
	type effect struct {
		Revision  int
		Receipt   *receipt
		Event     string
		ClaimedBy *struct{ ID string }
	}
	var got struct {
		Events struct {
			Nodes []struct{ Deliveries []delivery }
		}
		There, Claimed, Unknown *effect
	}
	h.get(t, "kopi", `{
		events(first: 2) { nodes { deliveries { id state waiting { reason blockedBy { id } } destination { name }
			steps { index name effect done receipt { externalId url fields { name value } } attempts { state } } } } }
		there: effect(destination: "books", name: "order/1") { revision receipt { externalId fields { name value } } event claimedBy { id } }
		claimed: effect(destination: "stock", name: "stock/1") { revision receipt { externalId } claimedBy { id } }
		unknown: effect(destination: "stock", name: "order/1") { revision }
	}`, nil, &got)
	older, newer := got.Events.Nodes[1].Deliveries, got.Events.Nodes[0].Deliveries
	if len(older) != 2 || len(older[0].Steps) != 2 || len(newer) != 1 {
		t.Fatalf("deliveries %+v and %+v", older, newer)
	}
	order, invoice := older[0].Steps[0], older[0].Steps[1]
	if order.Name != "order" || order.Effect != "order/1" || !order.Done || len(order.Attempts) != 2 || order.Receipt == nil || order.Receipt.ExternalID != "SO-1" ||
		!cmp.Equal(order.Receipt.Fields, []struct{ Name, Value string }{{"number", "7"}}) {
		t.Errorf("the order: %+v", order)
	}
	if invoice.Index != 1 || !invoice.Done || len(invoice.Attempts) != 0 || invoice.Receipt == nil || invoice.Receipt.URL != "https://x" {
		t.Errorf("the invoice: %+v", invoice)
	}
	if w := newer[0].Waiting; newer[0].State != "WAITING" || w == nil || w.Reason != "EFFECT" || w.BlockedBy == nil || w.BlockedBy.ID != older[1].ID {
		t.Errorf("what waits for the effect of %s: %+v, %+v", older[1].ID, newer[0], w)
	}
	if e := got.There; e == nil || e.Revision != 2 || e.Receipt == nil || e.Receipt.ExternalID != "SO-1" || e.Event != "e1" || e.ClaimedBy != nil {
		t.Errorf("an effect that is there: %+v", e)
	}
	if e := got.Claimed; e == nil || e.Revision != 0 || e.Receipt != nil || e.ClaimedBy == nil || e.ClaimedBy.ID != older[1].ID {
		t.Errorf("an effect that is claimed: %+v", e)
	}
	if got.Unknown != nil {
		t.Errorf("an effect that is not known: %+v", got.Unknown)
	}
}

// What is still to come of an open delivery is listed as its route has it today, also where
// its destination drains; of one that has ended there is nothing to come.
func TestDelivery_ListsTheStepsThatAreStillToCome(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 3, "books")
	h.exec(t, `UPDATE deliveries SET route = (ARRAY['three', 'drains', 'plain'])[1 + (seq - (SELECT min(seq) FROM deliveries))::integer]`)
	h.exec(t, `INSERT INTO configuration (tenant, version, document, digest, actor, reason)
		SELECT t, v, d::jsonb, '', 'a', 'r' FROM (VALUES ('teh', 98, '{"routes": [{"name": "three", "steps": [{"name": "theirs"}]}]}'), ('kopi', 98, '{"routes": [{"name": "three", "steps": [{"name": "before"}]}]}'),
		('kopi', 99, '{"routes": [{"name": "three", "steps": [{"name": "order"}, {"name": "confirm"}, {"name": "invoice"}]}, {"name": "plain"}],
		  "draining": [{"routes": [{"name": "drains", "steps": [{"name": "last"}]}, {"name": "three", "steps": [{"name": "replaced"}]}]}]}')) AS c(t, v, d)`)
	h.exec(t, `UPDATE deliveries SET step = 1, receipts = '{"order": {}}' WHERE route = 'three'`)
	h.exec(t, `INSERT INTO timeline (tenant, event, event_at, destination, replay, step, attempt, kind, what, state, detail)
		SELECT tenant, event, event_at, destination, replay, 0, 1, 1, 'attempt', 'PENDING', '{"step": "order", "effect": "order/1"}' FROM deliveries WHERE route = 'three'`)
	var got struct {
		Deliveries struct {
			Nodes []struct {
				Route string
				Steps []struct {
					Name, State string
					Done        bool
				}
			}
		}
	}
	h.get(t, "kopi", `{ deliveries(first: 5) { nodes { route steps { name state done } } } }`, nil, &got)
	var told []string
	for _, d := range got.Deliveries.Nodes {
		for _, s := range d.Steps {
			told = append(told, d.Route+" "+s.Name+" "+s.State)
		}
	}
	want := []string{"three order DONE", "three confirm CURRENT", "three invoice NOT_BEGUN", "drains last CURRENT", "plain  CURRENT"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
