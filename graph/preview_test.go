package graph

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// testPreviews prepare a request of every event, and miss one look-up of it.
type testPreviews struct{ *outbox.Store }

func (p testPreviews) PreviewDelivery(ctx context.Context, tenant string, id outbox.DeliveryID) (*outbox.Preview, error) {
	read, err := p.ReadPreviewed(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	return &outbox.Preview{Event: id.Event, Destination: "books", Route: read.Delivery.Route, Open: read.Open, Mappings: 7, Steps: []outbox.PreviewStep{
		{
			Destination: "books", Name: "order", Effect: "order/1", Prospect: outbox.WouldUpdate,
			Request:  &outbox.PreviewRequest{Method: "PUT", URL: "https://example.com/orders", Header: http.Header{"Authorization": {"[redacted]"}}, Body: read.Event.Payload},
			LookUps:  []outbox.LookedUp{{Table: "sku", Value: "TEA", MappingEntry: outbox.MappingEntry{Target: "ITM-1", Version: 3, Shared: true}}},
			Existing: &outbox.Effect{Revision: 2, Receipt: outbox.Receipt{ExternalID: "SO-17"}, Source: "till", Event: "e1"},
			Content:  []byte{0xab}, Change: &outbox.PreviewChange{Diff: "-a\n+b\n"},
		},
		{
			Destination: "books", Index: 1, Name: "invoice", Prospect: outbox.WouldHold, Cause: outbox.Cause{Class: "SKU_UNMAPPED"},
			Missing: []outbox.LookUp{{Class: "SKU_UNMAPPED", Table: "sku", Value: "LATTE-OAT", Path: "lines[0].item"}},
		},
	}}, nil
}

func (p testPreviews) PreviewEvent(ctx context.Context, tenant string, id outbox.EventID, route string) (*outbox.Preview, error) {
	if route != "sales" {
		return nil, outbox.ErrNotFound
	}
	return p.PreviewDelivery(ctx, tenant, outbox.DeliveryID{Event: id, Destination: 1})
}

func TestQuery_Preview(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books")
	var found struct {
		Events struct {
			Nodes []struct {
				ID         string
				Deliveries []struct {
					ID      string
					Preview map[string]any
				}
			}
		}
	}
	h.get(t, "kopi", `{ events(first: 1) { nodes { id deliveries { id preview {
		destination { name } open mappings requests { step method url headers { name value } } missing { table value path } diffFromLastSent
		steps { index name effect prospect class reason provisional content lookUps { table value target shared default version }
			existing { name revision receipt { externalId } destination { name } } change { same diff note } } } } } } }`, nil, &found)
	want := map[string]any{
		"destination": map[string]any{"name": "books"}, "open": true, "mappings": 7.0,
		"requests": []any{map[string]any{
			"step": "order", "method": "PUT", "url": "https://example.com/orders",
			"headers": []any{map[string]any{"name": "Authorization", "value": "[redacted]"}},
		}},
		"missing":          []any{map[string]any{"table": "sku", "value": "LATTE-OAT", "path": "lines[0].item"}},
		"diffFromLastSent": "-a\n+b\n",
		"steps": []any{
			map[string]any{
				"index": 0.0, "name": "order", "effect": "order/1", "prospect": "UPDATE", "class": nil, "reason": nil, "provisional": false, "content": "ab",
				"lookUps":  []any{map[string]any{"table": "sku", "value": "TEA", "target": "ITM-1", "shared": true, "default": false, "version": 3.0}},
				"existing": map[string]any{"name": "order/1", "revision": 2.0, "receipt": map[string]any{"externalId": "SO-17"}, "destination": map[string]any{"name": "books"}},
				"change":   map[string]any{"same": false, "diff": "-a\n+b\n", "note": nil},
			},
			map[string]any{
				"index": 1.0, "name": "invoice", "effect": nil, "prospect": "HOLD", "class": "SKU_UNMAPPED", "reason": nil, "provisional": false, "content": nil,
				"lookUps": []any{}, "existing": nil, "change": nil,
			},
		},
	}
	if diff := cmp.Diff(want, found.Events.Nodes[0].Deliveries[0].Preview); diff != "" {
		t.Errorf("the preview (-want +got):\n%s", diff)
	}
	const byRoute = `query ($id: ID!, $route: String!) { previewEvent(event: $id, route: $route) { route requests { body { text } } } }`
	for _, c := range []struct {
		tenant, route string
		found         bool
	}{{"kopi", "sales", true}, {"kopi", "nowhere", false}, {"teh", "sales", false}} {
		var got struct{ PreviewEvent *struct{ Route string } }
		h.get(t, c.tenant, byRoute, map[string]any{"id": found.Events.Nodes[0].ID, "route": c.route}, &got)
		if (got.PreviewEvent != nil) != c.found {
			t.Errorf("%s by %s: %+v", c.tenant, c.route, got)
		}
	}
}
