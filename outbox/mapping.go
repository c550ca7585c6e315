package outbox

import (
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits of mapping tables.
const (
	// MaxMappingText is the most bytes of a value, and of a target.
	MaxMappingText = 500
	// MaxMappingEntries and MaxMappingTables are the most of one tenant, in all its tables
	// and destinations together: every process keeps them in memory, some 100 bytes an entry.
	MaxMappingEntries = 500_000
	MaxMappingTables  = 1_000
)

var mappingName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// MappingRequest is what every change of mappings carries.
type MappingRequest struct {
	// RequestID is chosen by the caller, 1 to 100 bytes: a repeat within 30 days of what
	// was carried out gets the first answer and changes nothing.
	RequestID string
	// Reason is for whoever reads the history, 1 to 500 bytes.
	Reason string
	// ExpectedVersion of the tenant's mappings, as the caller saw them: [ErrConflict] where
	// an entry that this would change has been changed since. Nil: whatever they are.
	ExpectedVersion *int64
}

// MappingTable names a table: of a destination, or shared by all where that is empty.
type MappingTable struct {
	// Name is 1 to 63 lower-case letters, digits, _ and -, a letter or digit first.
	Name        string
	Destination string
}

func (t MappingTable) String() string {
	if t.Destination == "" {
		return "the shared table " + t.Name
	}
	return "table " + t.Name + " of " + t.Destination
}

// MappingPair is a value and what it is called at the destination: each 1 to
// [MaxMappingText] bytes of UTF-8 without U+0000, kept byte for byte. Spaces and letter
// case count.
type MappingPair struct{ Value, Target string }

// SetMappings asks for entries, new ones or with another target.
type SetMappings struct {
	MappingRequest
	Table   MappingTable
	Entries []MappingPair
}

// RemoveMappings asks to remove entries: those of the values, or All of the table; the
// default stays.
type RemoveMappings struct {
	MappingRequest
	Table  MappingTable
	Values []string
	All    bool
}

// SetMappingDefault asks for what values without an entry are called; an empty Target
// removes it.
type SetMappingDefault struct {
	MappingRequest
	Table  MappingTable
	Target string
}

// MappingChange is what came of a request.
type MappingChange struct {
	// Version of the tenant's mappings that has it; the one before where nothing changed.
	Version int64 `json:"version"`
	Added   int   `json:"added"`
	Changed int   `json:"changed"`
	Removed int   `json:"removed"`
	// Unchanged: they were so before.
	Unchanged int `json:"unchanged"`
	// Repeated rows of an import say what another one says.
	Repeated int `json:"repeated"`
	// Released deliveries are those that exceptions held which it resolves. One that hangs
	// on another cause besides goes on holding.
	Released int64 `json:"released"`
}

// SetMappings makes entries, with their history and one timeline entry in the same
// transaction. What says the same twice counts once; a value with two targets is refused.
// It returns [ErrConflict], or a [*Refusal] where the request is wrong.
func (s *Store) SetMappings(ctx context.Context, actor Actor, q SetMappings) (MappingChange, error) {
	if len(q.Entries) == 0 {
		return MappingChange{}, &Refusal{Field: "entries", Message: "there is nothing to set: give at least one value with its target"}
	}
	rows := mappingRows{table: q.Table}
	for i, e := range q.Entries {
		if problem := checkMappingPair(e.Value, e.Target); problem != "" {
			return MappingChange{}, &Refusal{Field: "entries", Message: fmt.Sprintf("entry %d: %s", i+1, problem)}
		}
		rows.pairs = append(rows.pairs, e)
	}
	return s.changeMappings(ctx, actor, &mappingChange{MappingRequest: q.MappingRequest, table: q.Table, source: &rows, field: "entries", each: "entries"})
}

// RemoveMappings removes entries, as [Store.SetMappings] makes them. A value without an
// entry is refused, and then nothing is removed.
func (s *Store) RemoveMappings(ctx context.Context, actor Actor, q RemoveMappings) (MappingChange, error) {
	rows := mappingRows{table: q.Table}
	switch {
	case q.All && len(q.Values) > 0:
		return MappingChange{}, &Refusal{Field: "values", Message: "name the values, or remove all of the table: not both"}
	case !q.All && len(q.Values) == 0:
		return MappingChange{}, &Refusal{Field: "values", Message: "there is nothing to remove: name at least one value"}
	}
	for i, value := range q.Values {
		if problem := checkMappingText("value", value); problem != "" {
			return MappingChange{}, &Refusal{Field: "values", Message: fmt.Sprintf("value %d: %s", i+1, problem)}
		}
		rows.pairs = append(rows.pairs, MappingPair{Value: value})
	}
	return s.changeMappings(ctx, actor, &mappingChange{MappingRequest: q.MappingRequest, table: q.Table, source: &rows, field: "values", replaces: q.All, removes: true})
}

// SetMappingDefault makes or removes a table's default, as [Store.SetMappings] makes
// entries.
func (s *Store) SetMappingDefault(ctx context.Context, actor Actor, q SetMappingDefault) (MappingChange, error) {
	if q.Target != "" {
		if problem := checkMappingText("target", q.Target); problem != "" {
			return MappingChange{}, &Refusal{Field: "target", Message: problem}
		}
	}
	rows := mappingRows{table: q.Table, pairs: []MappingPair{{Target: q.Target}}}
	return s.changeMappings(ctx, actor, &mappingChange{MappingRequest: q.MappingRequest, table: q.Table, source: &rows, field: "target", removes: q.Target == ""})
}

// mappingRows are rows of one table that are there already.
type mappingRows struct {
	table       MappingTable
	pairs       []MappingPair
	destination int32
	next        int
}

func (r *mappingRows) open(destinations map[string]int32) error {
	id, ok := destinations[r.table.Destination]
	if !ok {
		return &Refusal{Field: "destination", Message: noDestination(r.table.Destination)}
	}
	r.destination = id
	return nil
}

func (r *mappingRows) Next() bool { r.next++; return r.next <= len(r.pairs) }

func (r *mappingRows) Values() ([]any, error) {
	p := r.pairs[r.next-1]
	return []any{int32(r.next), r.table.Name, r.destination, p.Value, orNull(p.Target)}, nil
}

func (r *mappingRows) Err() error { return nil }

func (r *mappingRows) digest() []byte {
	digest := sha256.Sum256(fmt.Appendf(nil, "%q", r.pairs))
	return digest[:]
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func checkMappingName(name string) string {
	if mappingName.MatchString(name) {
		return ""
	}
	return fmt.Sprintf("%q cannot name a table: expected 1 to 63 lower-case letters, digits, _ and -, a letter or digit first", abridged(name))
}

// checkMappingPair says what is wrong with an entry; nothing where it is fine.
func checkMappingPair(value, target string) string {
	if problem := checkMappingText("value", value); problem != "" {
		return problem
	}
	return checkMappingText("target", target)
}

func checkMappingText(what, text string) string {
	switch {
	case text == "":
		return "the " + what + " is empty"
	case len(text) > MaxMappingText:
		return fmt.Sprintf("the %s has %d bytes, and may have %d: %q", what, len(text), MaxMappingText, abridged(text))
	case !utf8.ValidString(text):
		return fmt.Sprintf("the %s %q is not UTF-8", what, abridged(text))
	case strings.ContainsRune(text, 0):
		return fmt.Sprintf("the %s %q holds the character U+0000, which cannot be stored", what, abridged(text))
	}
	return ""
}

// abridged is the beginning of a text, for messages.
func abridged(s string) string {
	if len(s) <= 60 {
		return s
	}
	return truncated(s, 57) + "…"
}
