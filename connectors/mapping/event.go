package mapping

import (
	"errors"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Event is what an expression may see of an event besides its payload.
type Event struct {
	ID, Type, OrderingKey, Outlet string
	References                    map[string]string
	OccurredAt                    time.Time
}

const eventTypeName = "event"

var eventType = cel.ObjectType(eventTypeName)

// eventFields are the fields by their name in CEL. Texts and the time are always
// there, so has() asks whether they are empty.
var eventFields = map[string]*types.FieldType{
	"id":           textField(func(e *Event) string { return e.ID }),
	"type":         textField(func(e *Event) string { return e.Type }),
	"ordering_key": textField(func(e *Event) string { return e.OrderingKey }),
	"outlet":       textField(func(e *Event) string { return e.Outlet }),
	"references": eventField(cel.MapType(cel.StringType, cel.StringType),
		func(e *Event) any { return e.References }, func(e *Event) bool { return len(e.References) > 0 }),
	"occurred_at": eventField(cel.TimestampType,
		func(e *Event) any { return e.OccurredAt }, func(e *Event) bool { return !e.OccurredAt.IsZero() }),
}

func textField(get func(*Event) string) *types.FieldType {
	return eventField(cel.StringType, func(e *Event) any { return get(e) }, func(e *Event) bool { return get(e) != "" })
}

func eventField(t *cel.Type, get func(*Event) any, isSet func(*Event) bool) *types.FieldType {
	return &types.FieldType{
		Type: t,
		IsSet: func(target any) bool {
			e, ok := target.(*Event)
			return ok && isSet(e)
		},
		GetFrom: func(target any) (any, error) {
			e, ok := target.(*Event)
			if !ok {
				return nil, errors.New("not an event")
			}
			return get(e), nil
		},
	}
}

// eventProvider adds the type of `event` to what CEL knows, so that a misspelt field
// is found when the expression is compiled.
type eventProvider struct{ *types.Registry }

func (p eventProvider) FindStructType(name string) (*types.Type, bool) {
	if name == eventTypeName {
		return types.NewTypeTypeWithParam(eventType), true
	}
	return p.Registry.FindStructType(name)
}

func (p eventProvider) FindStructFieldNames(name string) ([]string, bool) {
	if name != eventTypeName {
		return p.Registry.FindStructFieldNames(name)
	}
	names := make([]string, 0, len(eventFields))
	for field := range eventFields {
		names = append(names, field)
	}
	return names, true
}

func (p eventProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if name != eventTypeName {
		return p.Registry.FindStructFieldType(name, field)
	}
	t, ok := eventFields[field]
	return t, ok
}

// NewValue refuses `event{…}`: an expression reads events, it does not make any.
func (p eventProvider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if name == eventTypeName {
		return types.NewErr("an event cannot be made in an expression")
	}
	return p.Registry.NewValue(name, fields)
}
