package connectors

import (
	"encoding/json"
	"time"
)

// Outlet is the place of a business that an event is about.
type Outlet struct {
	Name string
	// Location is its time zone; nil where none is configured.
	Location *time.Location
}

// Receipt is what a platform gave for an effect: what it calls it, where to see it, and
// what else later steps need of its answer. It holds at most [MaxFields] fields, of
// [MaxFieldBytes] bytes each; what is more is cut.
type Receipt struct {
	ExternalID, URL string
	Fields          map[string]string
}

// Bounds of the fields of a [Receipt].
const (
	MaxFields     = 16
	MaxFieldBytes = 200
)

// Planner is what a [Destination] is besides where routes may say what their steps do.
type Planner interface {
	// Plan checks what a route says of a step, once, and makes of it what
	// [Destination.Prepare] finds in [Step.Plan]. It does no I/O. Its error says what is
	// wrong and what was expected; one that is a [*PlanError] says where.
	Plan(StepConfig) (any, error)
}

// StepConfig is what a route says of a step.
type StepConfig struct {
	// Name of the step in its route, and Call, which of the destination's calls it makes.
	Name, Call string
	// Before are the names of the steps before it, whose receipts its map may read; nil where
	// they are not known.
	Before []string
	// Later are the names of this step and of those after it, none of whose receipts is there;
	// nil where they are not known.
	Later []string
	// Map is the step's mapping as JSON; absent: the destination's own serves.
	Map json.RawMessage
}

// PlanError says what is wrong with a step, and where in it.
type PlanError struct {
	// Path is where, as in the configuration: "call", or "map.detailItem[0].itemNo".
	// Empty: the step as a whole.
	Path string
	// Line and Column are within the text at Path, from 1; 0 where they are not known.
	Line, Column int
	Message      string
}

func (e *PlanError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// Content is what a [Request] is besides where it can tell what it would bring to the
// platform: two requests with the same content would make the same of an effect. An
// effect whose content is what is there already is not updated.
type Content interface {
	// Content returns the bytes; they are read at once, and not kept.
	Content() []byte
}
