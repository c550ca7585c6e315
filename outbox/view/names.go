package view

import (
	"context"
	"fmt"
)

// InputError says what is wrong with what was asked for, in words for the one who
// asked.
type InputError struct{ Message string }

func (e *InputError) Error() string { return e.Message }

var destinationsNamed = register("destinations named", `SELECT id FROM destinations WHERE $1 = '' OR name = $1 ORDER BY id`)

var sourcesNamed = register("sources named", `SELECT id FROM sources WHERE name = $1`)

// destinationsNamed returns the numbers of the destinations of this name, of all where
// it is empty. One that the configuration does not name any more is among them.
func (t *Tx) destinationsNamed(ctx context.Context, name string) ([]int32, error) {
	return t.named(ctx, "destination", destinationsNamed, name)
}

// checkDestination fails where a filter names a destination that never was, so that
// nobody takes an empty list for an answer; checkSource does so for a source.
func (t *Tx) checkDestination(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := t.destinationsNamed(ctx, name)
	return err
}

func (t *Tx) checkSource(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := t.named(ctx, "source", sourcesNamed, name)
	return err
}

func (t *Tx) named(ctx context.Context, what, sql, name string) ([]int32, error) {
	type row struct{ ID int32 }
	rows, err := collect[row](ctx, t, what+"s", sql, name)
	if err == nil && len(rows) == 0 && name != "" {
		err = &InputError{fmt.Sprintf("there is no %s %q", what, name)}
	}
	ids := make([]int32, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids, err
}
