package connectors

import "context"

// Trier is what a [Destination] is besides where it can try a step more closely than
// Prepare does, with a sample event, before there is a real one.
type Trier interface {
	// Try makes all that the destination would ever make of the step, be its effect there
	// already or asked about, one trial for each part. Receipts are not known: what depends
	// on them is no error. It does no I/O.
	Try(context.Context, Step) []Trial
}

// Trial is what came of one part of a request.
type Trial struct {
	// Path is the part: "url", "map", "update.map", "find.query.number".
	Path string
	// Missing are the look-ups that found nothing.
	Missing []Miss
	// LeftOut are the places of the part that were left out, since the event does not have
	// what they read: "map.lines[*].note".
	LeftOut []string
	// Err is why it can't be made, Field the place: "map.lines[3].price". It quotes nothing
	// of the event.
	Err   error
	Field string
}
