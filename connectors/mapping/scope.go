package mapping

import "time"

// Scope is what a template or a text is rendered with. What it leaves out is absent. One
// goroutine uses it at a time.
type Scope struct {
	Event  *Event
	Body   *Body
	Outlet Outlet
	// Steps are the receipts of the delivery's earlier steps, by the step's name.
	Steps map[string]Receipt
	// Existing is the receipt of the effect, where it is there already and is to be
	// updated.
	Existing *Receipt
	// Tenant, Destination and Effect are what reference() derives from.
	Tenant, Destination, Effect string
	// Lookup finds a value's counterpart in a mapping table. Nil finds nothing.
	Lookup func(table, value string) (string, bool)
	// Variables are what the environment declares besides: trees of map[string]any,
	// map[string]string, []any, string, bool, int, int64, json.Number and nil.
	Variables map[string]any
}

// Outlet is the place that an event comes from. Without a Location, `outlet.timezone` is
// an error and no absence: a date that is left out would be taken for today's.
type Outlet struct {
	Name     string
	Location *time.Location
}

// Receipt is what a step brought back: `receipt.id`, `receipt.url`, and each field by its
// name.
type Receipt struct {
	ExternalID, URL string
	Fields          map[string]string
}

// Miss is a look-up that found no counterpart. Path says where its value was to stand, as
// a JSON pointer into what is rendered: /lines/3/item.
type Miss struct {
	Table, Value, Path string
}
