package hooks

import (
	"net/http"
	"strings"
)

// Address adds to h the headers by which a sender of the source's format says what a
// webhook is about, where they are not there: for whoever sends one to try. An empty topic
// leaves out those that say it.
func (s *Source) Address(h http.Header, topic, id string) {
	set := func(name, value string) {
		if h.Get(name) == "" && value != "" {
			h.Set(name, value)
		}
	}
	set("Content-Type", "application/json")
	switch s.format {
	case "shopify":
		set("X-Shopify-Topic", topic)
		set("X-Shopify-Webhook-Id", id)
		set("X-Shopify-Shop-Domain", "example.myshopify.com")
	case "woocommerce":
		resource, event, _ := strings.Cut(topic, ".")
		set("X-Wc-Webhook-Topic", topic)
		set("X-Wc-Webhook-Resource", resource)
		set("X-Wc-Webhook-Event", event)
		set("X-Wc-Webhook-Delivery-Id", id)
	case "standard-webhooks":
		set("Webhook-Id", id)
	case formatCloudEvents:
		if !strings.HasPrefix(h.Get("Content-Type"), structured) {
			set("Ce-Specversion", "1.0")
			set("Ce-Id", id)
			set("Ce-Source", "raffsync-send")
			set("Ce-Type", topic)
		}
	}
}
