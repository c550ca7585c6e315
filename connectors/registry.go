package connectors

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Options is what a destination is built from.
type Options struct {
	// Name of the destination in its tenant.
	Name string
	// Settings is the destination's own part of the configuration, as JSON.
	Settings json.RawMessage
	// Rules are the destination's own outcome rules, a JSON list as package rules reads
	// it; they come before those that ship with its kind. Absent for none.
	Rules json.RawMessage
	// Secret resolves a reference such as "env:NAME" or "file:PATH". Its error names
	// the reference and never the secret.
	Secret func(reference string) (string, error)
	// Connections keeps what the platform gave to this destination: tokens, sessions. Nil
	// where there is no database, as when a configuration is only checked.
	Connections Connections
	// Concurrency is the most requests that will be in flight at once; zero where that
	// is not known. A connector opens as many connections as that needs.
	Concurrency int
	// AllowLoopback lets requests go to this machine. For development.
	AllowLoopback bool
}

// Factory builds a destination. It checks everything that can be checked without
// I/O, and says in its error which setting is wrong and what was expected.
type Factory func(Options) (Destination, error)

// Registry knows the kinds of destination by name.
type Registry map[string]Factory

// New builds a destination of the kind.
func (r Registry) New(kind string, o Options) (Destination, error) {
	factory, ok := r[kind]
	if !ok {
		return nil, fmt.Errorf("destination %q: no kind %q; there is %s", o.Name, kind,
			strings.Join(slices.Sorted(maps.Keys(r)), ", "))
	}
	d, err := factory(o)
	if err != nil {
		return nil, fmt.Errorf("destination %q: %w", o.Name, err)
	}
	return d, nil
}
