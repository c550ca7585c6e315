package connectors

import raffsyncv1 "raffsync/proto/raffsync/v1"

// Miss is a look-up in a mapping table that found nothing.
type Miss struct {
	// Table and Value are what was asked for, as the event has it: values are compared
	// byte by byte.
	Table, Value string
	// Path is where in the step's mapping it was asked for, for people.
	Path string
}

// Kind is what a miss in the table comes to.
//
//	sku         → SKU_UNMAPPED
//	modifier    → MODIFIER_UNMAPPED
//	tax, outlet → TAX_OUTLET_RULE
//	any other   → UNMAPPED
func (m Miss) Kind() raffsyncv1.OutcomeKind {
	switch m.Table {
	case "sku":
		return raffsyncv1.OutcomeKind_OUTCOME_KIND_SKU_UNMAPPED
	case "modifier":
		return raffsyncv1.OutcomeKind_OUTCOME_KIND_MODIFIER_UNMAPPED
	case "tax", "outlet":
		return raffsyncv1.OutcomeKind_OUTCOME_KIND_TAX_OUTLET_RULE
	}
	return raffsyncv1.OutcomeKind_OUTCOME_KIND_UNMAPPED
}
