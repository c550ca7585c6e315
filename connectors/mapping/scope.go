package mapping

import (
	"maps"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

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
	// Unknown names variables whose values are not known, as steps and existing where a
	// sample is tried. What depends on them is as unknown, and no error, nor missing.
	Unknown []string
	// Variables are the values of what the environment declares besides: trees of
	// map[string]any, map[string]string, []any, []string, string, bool, int, int64,
	// json.Number, time.Time and nil, or a *Body.
	Variables map[string]any
}

// Outlet is the place that an event comes from. Without a Location, `outlet.timezone` is
// an error and no absence: a date that is left out would be taken for today's.
type Outlet struct {
	Name     string
	Location *time.Location
}

const outletTypeName = "outlet"

var outletType = cel.ObjectType(outletTypeName)

var outletFields = map[string]*types.FieldType{
	"name": objectField(cel.StringType, func(o *Outlet) (any, error) { return o.Name, nil }, func(o *Outlet) bool { return o.Name != "" }),
	"timezone": objectField(cel.StringType, func(o *Outlet) (any, error) {
		if o.Location == nil {
			return nil, saying(noZone)
		}
		return o.Location.String(), nil
	}, func(o *Outlet) bool { return o.Location != nil }),
}

// Receipt is what a step brought back: `receipt.id`, `receipt.url`, and each further field
// by its name.
type Receipt struct {
	ExternalID, URL string
	Fields          map[string]string
}

// fields are the receipt as expressions see it. What is empty is absent.
func (r *Receipt) fields() map[string]string {
	all := make(map[string]string, len(r.Fields)+2)
	maps.Copy(all, r.Fields)
	for name, value := range map[string]string{"id": r.ExternalID, "url": r.URL} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

// Miss is a look-up that found no counterpart. Path says where its value was to stand, as
// a JSON pointer into what is rendered: /lines/3/item.
type Miss struct {
	Table, Value, Path string
}
