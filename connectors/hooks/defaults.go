package hooks

// expressions make an event of a webhook: texts with ${…} in CEL over body, headers,
// query and digest. Empty ones are left out.
type expressions struct {
	ID          string            `json:"id"`
	Type        string            `json:"type"`
	OrderingKey string            `json:"ordering_key"`
	Outlet      string            `json:"outlet"`
	OccurredAt  string            `json:"occurred_at"`
	References  map[string]string `json:"references"`
}

// defaults are the expressions of known senders, by format. An id has to be the same
// whenever the sender sends a webhook again, and another for every other webhook:
//
//   - Shopify: X-Shopify-Webhook-Id (stable over retries, where X-Shopify-Event-Id is
//     shared by several subscriptions).
//   - WooCommerce: its Delivery-ID is a hash of webhook and second, so two changes of one
//     second share it. The body's own hash tells them apart; a deletion, whose body is the
//     id alone, can come again after a restoration, and takes the Delivery-ID with it.
//   - Take.app: the envelope has no id; type, order and its updated_at make one.
//   - Stripe, Standard Webhooks and CloudEvents have ids made for this.
//
// Times are those of the body: those in headers change at each attempt, which would make
// another content under the same id.
var defaults = map[string]expressions{
	"": {},
	"shopify": {
		ID:   "${headers['x-shopify-webhook-id']}",
		Type: "${headers['x-shopify-topic']}",
		OrderingKey: "${has(body.order_id) ? 'order/' + string(body.order_id)" +
			" : has(body.order_edit) ? 'order/' + string(body.order_edit.order_id)" +
			" : headers['x-shopify-topic'].startsWith('orders/') ? 'order/' + string(body.id)" +
			" : has(body.inventory_item_id) ? 'inventory-item/' + string(body.inventory_item_id)" +
			" : headers['x-shopify-topic'].startsWith('inventory_items/') ? 'inventory-item/' + string(body.id)" +
			" : has(body.id) ? 'shopify/' + string(body.id)" +
			" : 'shop/' + headers['x-shopify-shop-domain']}",
		OccurredAt: "${has(body.updated_at) ? body.updated_at : body.created_at}",
		References: map[string]string{"order": "${body.order_number}"},
	},
	"woocommerce": {
		ID: "${headers['x-wc-webhook-topic']}/${body.id}/" +
			"${has(body.date_modified_gmt) ? digest : headers['x-wc-webhook-delivery-id']}",
		Type:        "${headers['x-wc-webhook-topic']}",
		OrderingKey: "${headers['x-wc-webhook-resource']}/${body.id}",
		OccurredAt:  "${body.date_modified_gmt}",
		References:  map[string]string{"order": "${headers['x-wc-webhook-resource'] == 'order' ? body.number : null}"},
	},
	"takeapp": {
		ID:          "${body.type}/${body.data.id}/${body.data.updated_at}",
		Type:        "${body.type}",
		OrderingKey: "order/${body.data.id}",
		OccurredAt:  "${body.data.updated_at}",
		References:  map[string]string{"order": "${body.data.number}"},
	},
	"stripe": {
		ID:   "${body.id}",
		Type: "${body.type}",
		OrderingKey: "${body.data.object.object}/" +
			"${has(body.data.object.id) ? body.data.object.id : body.id}",
		OccurredAt: "${body.created}",
		References: map[string]string{"object": "${body.data.object.id}", "number": "${body.data.object.number}"},
	},
	"standard-webhooks": {
		ID:          "${headers['webhook-id']}",
		Type:        "${body.type}",
		OrderingKey: "${has(body.data) && has(body.data.id) ? body.data.id : headers['webhook-id']}",
		OccurredAt:  "${body.timestamp}",
	},
	formatCloudEvents: {
		ID:          "${headers['ce-source']}/${headers['ce-id']}",
		Type:        "${headers['ce-type']}",
		OrderingKey: "${'ce-subject' in headers ? headers['ce-subject'] : headers['ce-source'] + '/' + headers['ce-id']}",
		OccurredAt:  "${headers['ce-time']}",
		References:  map[string]string{"subject": "${headers['ce-subject']}"},
	},
}

// formatCloudEvents is the format of CloudEvents 1.0, in binary and structured mode.
const formatCloudEvents = "cloudevents"

// or takes what is given, and what other gives for the rest. References are taken as a
// whole.
func (e expressions) or(other expressions) expressions {
	for _, field := range []struct{ into, from *string }{
		{&e.ID, &other.ID}, {&e.Type, &other.Type}, {&e.OrderingKey, &other.OrderingKey}, {&e.Outlet, &other.Outlet}, {&e.OccurredAt, &other.OccurredAt},
	} {
		if *field.into == "" {
			*field.into = *field.from
		}
	}
	if e.References == nil {
		e.References = other.References
	}
	return e
}
