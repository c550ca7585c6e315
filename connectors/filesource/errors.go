package filesource

import (
	"fmt"
	"strings"
)

// InputError says why the file can't be read on. Nothing follows it.
type InputError struct {
	// Line counts from 1, the header included; 0 where the problem is of no line.
	Line int
	// Problem says what is wrong and what to do.
	Problem string
	err     error
}

func (e *InputError) Error() string {
	if e.Line == 0 {
		return e.Problem
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Problem)
}

func (e *InputError) Unwrap() error { return e.err }

// EventError says why some lines make no event. Other events are not concerned.
type EventError struct {
	// ID is empty where it is what is missing.
	ID string
	// Lines are all lines of the event, counted from 1, the header included.
	Lines []int
	// Problem says what is wrong and what to do.
	Problem string
}

func (e *EventError) Error() string {
	var b strings.Builder
	switch len(e.Lines) {
	case 0:
	case 1:
		fmt.Fprintf(&b, "line %d", e.Lines[0])
	default:
		fmt.Fprintf(&b, "%d lines from line %d on", len(e.Lines), e.Lines[0])
	}
	if e.ID != "" {
		fmt.Fprintf(&b, ", id %q", e.ID)
	}
	return strings.TrimPrefix(b.String()+": "+e.Problem, ", ")
}
