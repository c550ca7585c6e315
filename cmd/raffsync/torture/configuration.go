package torture

import (
	"fmt"
	"strings"
)

// configuration is the file that the replicas serve.
func (r *rig) configuration(secret string) string {
	limits := fmt.Sprintf(`    timeout: %s
    limits: {concurrency: %d}
    breaker: {window: %s, min_requests: %d, failure_ratio: 0.5, open_for: %s, probes: %d}`,
		requestTimeout, concurrency, breakerWindow, breakerMinimum, breakerOpenFor, breakerProbes)
	return strings.NewReplacer(
		"BOOKS", "http://"+r.courier.address(), "CRM", r.crm.url, "STOCK", r.stock.url, "ORDERS", r.orders.url, "MIRROR", r.mirror.url,
		"SECRET", "file:"+secret, "    LIMITS", limits, "RETRY", "{initial: 20ms, cap: 300ms, attempts: 1000, age: 1h}", "PLACED", placedType,
	).Replace(configuration)
}

const configuration = `tenant: torture
sources: {till: {}}
destinations:
  books:
    webhook: {url: "BOOKS/events", secret: "SECRET"}
    LIMITS
  crm:
    webhook: {url: "CRM/events", secret: "SECRET", idempotent: false, ask: {url: "CRM/events/{id}"}}
    LIMITS
  stock:
    webhook: {url: "STOCK/events", secret: "SECRET", idempotent: false}
    LIMITS
  orders:
    recipe:
      url: "ORDERS"
      idempotent: false
      rules:
        - {name: done, status: 200, body: {$.id: {exists: true}}, kind: DELIVERED}
        - {name: neither yes nor no, status: 2xx, kind: UNKNOWN_OUTCOME}
      answers:
        - {name: an order, status: 200, body: {id: "17"}, expect: {kind: DELIVERED}}
        - {name: half an answer, status: 200, body: "{", expect: {kind: UNKNOWN_OUTCOME}}
      calls:
        order:
          url: /orders
          headers: {Ce-Id: "${event.id}", Ce-Subject: "${event.ordering_key}", X-Reference: "${reference(30)}", X-Effect: "order/${body.order}"}
          map: {item: "${lookup('sku', body.sku)}"}
          receipt: {id: $.id}
          find:
            url: "/events/${reference(30)}"
            found: {status: 200, body: {$.id: {exists: true}}}
            absent: {status: 404}
            where: {$.id: "${reference(30)}"}
            receipt: {id: $.id}
        invoice:
          url: /invoices
          headers: {Ce-Id: "${event.id}", Ce-Subject: "${event.ordering_key}", X-Reference: "${reference(30)}", X-Effect: "invoice/${body.order}"}
          map: {order: "${steps.order.receipt.id}"}
          receipt: {id: $.id}
          find:
            url: "/events/${reference(30)}"
            found: {status: 200, body: {$.id: {exists: true}}}
            absent: {status: 404}
            where: {$.id: "${reference(30)}"}
            receipt: {id: $.id}
    LIMITS
  mirror:
    webhook: {url: "MIRROR/events", secret: "SECRET"}
    LIMITS
routes:
  books: {from: till, to: books, retry: RETRY}
  crm: {from: till, to: crm, retry: RETRY}
  stock: {from: till, to: stock, on_exception: pass, retry: RETRY}
  orders:
    from: till
    to: orders
    types: [PLACED]
    retry: RETRY
    edits: {allow: [/sku]}
    steps:
      - {name: order, call: order, effect: "order/${body.order}"}
      - {name: invoice, call: invoice, effect: "invoice/${body.order}"}
  mirror: {from: till, to: mirror, mode: shadow, types: [PLACED]}
`
