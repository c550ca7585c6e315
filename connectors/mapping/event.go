package mapping

import (
	"errors"
	"maps"
	"slices"
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
	return objectField(t, func(e *Event) (any, error) { return get(e), nil }, isSet)
}

// objectField is a field of an object that CEL sees as it is in Go.
func objectField[T any](t *cel.Type, get func(*T) (any, error), isSet func(*T) bool) *types.FieldType {
	return &types.FieldType{
		Type: t,
		IsSet: func(target any) bool {
			object, ok := target.(*T)
			return ok && isSet(object)
		},
		GetFrom: func(target any) (any, error) {
			object, ok := target.(*T)
			if !ok {
				return nil, errors.New("not the object that has this field")
			}
			return get(object)
		},
	}
}

// objectProvider adds the types of `event` and `outlet` to what CEL knows, so that a
// misspelt field is found when the expression is compiled.
type objectProvider struct {
	*types.Registry
	objects map[string]map[string]*types.FieldType // by the type's name and the field's
}

func (p objectProvider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.objects[name]; ok {
		return types.NewTypeTypeWithParam(cel.ObjectType(name)), true
	}
	return p.Registry.FindStructType(name)
}

func (p objectProvider) FindStructFieldNames(name string) ([]string, bool) {
	fields, ok := p.objects[name]
	if !ok {
		return p.Registry.FindStructFieldNames(name)
	}
	return slices.Collect(maps.Keys(fields)), true
}

func (p objectProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	fields, ok := p.objects[name]
	if !ok {
		return p.Registry.FindStructFieldType(name, field)
	}
	t, ok := fields[field]
	return t, ok
}

// NewValue refuses `event{…}`: an expression reads events, it does not make any.
func (p objectProvider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if _, ok := p.objects[name]; ok {
		return types.NewErr("an event cannot be made in an expression")
	}
	return p.Registry.NewValue(name, fields)
}
