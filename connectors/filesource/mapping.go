package filesource

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// TypeRule gives events whose id fits a pattern a type of their own.
type TypeRule struct {
	// ID is a pattern: "*" stands for any text, "?" for one character.
	ID string
	// Type is the event's type then.
	Type string
}

// mapping is the parsed form of Config's templates.
type mapping struct {
	id, kind, orderingKey, outlet template
	typeIf                        []TypeRule
	references                    []reference
	time, layout                  string
	location                      *time.Location
}

type reference struct {
	name  string
	value template
}

// maxReferences is the contract's limit.
const maxReferences = 16

func newMapping(cfg Config) (*mapping, error) {
	m := &mapping{typeIf: cfg.TypeIf, time: cfg.Time, layout: cfg.TimeFormat, location: cfg.TimeZone}
	if m.layout == "" {
		m.layout = time.RFC3339
	}
	if m.location == nil {
		m.location = time.UTC
	}
	var problems []error
	parse := func(what, text string, parser func(string) (template, error)) template {
		if text == "" {
			return nil
		}
		t, err := parser(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", what, err))
		}
		return t
	}
	m.id = parse("id", cfg.ID, parseColumn)
	m.kind = parse("type", cfg.Type, parseTemplate)
	m.orderingKey = parse("ordering key", cfg.OrderingKey, parseTemplate)
	m.outlet = parse("outlet", cfg.Outlet, parseColumn)
	for _, name := range slices.Sorted(maps.Keys(cfg.References)) {
		if name == "" || cfg.References[name] == "" {
			problems = append(problems, errors.New("a reference has no name or no template: write NAME={Column}"))
			continue
		}
		m.references = append(m.references, reference{name, parse("reference "+name, cfg.References[name], parseTemplate)})
	}
	if len(m.references) > maxReferences {
		problems = append(problems, fmt.Errorf("%d references: an event takes %d", len(m.references), maxReferences))
	}
	for _, rule := range m.typeIf {
		if rule.ID == "" || rule.Type == "" {
			problems = append(problems, errors.New("a rule for types has no pattern or no type: both are needed"))
		}
	}
	return m, errors.Join(problems...)
}

// columns are all that the mapping uses, each once, with what it is used for.
func (m *mapping) columns() (names []string, purpose map[string]string) {
	purpose = map[string]string{}
	add := func(what string, columns ...string) {
		for _, c := range columns {
			if _, known := purpose[c]; !known {
				names = append(names, c)
				purpose[c] = what
			}
		}
	}
	add("the id", m.id.columns()...)
	add("the type", m.kind.columns()...)
	add("the ordering key", m.orderingKey.columns()...)
	add("the outlet", m.outlet.columns()...)
	if m.time != "" {
		add("the time", m.time)
	}
	for _, r := range m.references {
		add("the reference "+r.name, r.value.columns()...)
	}
	return names, purpose
}

// event makes everything but the data. Its error says what is wrong and what to do.
func (m *mapping) event(id string, r row) (*raffsyncv1.Event, error) {
	e := &raffsyncv1.Event{Id: id}
	var err error
	if e.Type, err = m.typeOf(id, r); err != nil {
		return nil, err
	}
	if e.OrderingKey, err = m.orderingKey.expand(r); err != nil {
		return nil, err
	}
	if e.OrderingKey == "" {
		return nil, errors.New("each alternative of the ordering key has an empty column: fill one in, or add an alternative that always has a value, such as the id")
	}
	if e.Outlet, err = m.outlet.expand(r); err != nil {
		return nil, err
	}
	if m.time != "" {
		value, err := r(m.time)
		if err != nil {
			return nil, err
		}
		if value == "" {
			return nil, fmt.Errorf("%s is empty: fill in the time", m.time)
		}
		at, err := time.ParseInLocation(m.layout, value, m.location)
		if err != nil {
			return nil, fmt.Errorf("%q in %s is no time of the form %q: correct it, or name the file's form as time format", cut(value), m.time, m.layout)
		}
		e.OccurredAt = timestamppb.New(at)
	}
	for _, reference := range m.references {
		value, err := reference.value.expand(r)
		if err != nil {
			return nil, err
		}
		if value != "" {
			if e.References == nil {
				e.References = make(map[string]string, len(m.references))
			}
			e.References[reference.name] = value
		}
	}
	return e, nil
}

func (m *mapping) typeOf(id string, r row) (string, error) {
	for _, rule := range m.typeIf {
		if matches(rule.ID, id) {
			return rule.Type, nil
		}
	}
	kind, err := m.kind.expand(r)
	if err == nil && kind == "" {
		err = errors.New("the column of the type is empty: fill it in, or give a type that always has a value")
	}
	return kind, err
}

// cut keeps errors short, whatever a file holds.
func cut(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
