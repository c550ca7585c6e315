package outbox

// Target is a destination that a route chose for an event.
type Target struct {
	Destination int32
	Route       string
}

// Entry is an event on its way into the outbox, with where it is to go. No target
// means that no route wants it: it is kept as unrouted.
type Entry struct {
	Event   Event
	Targets []Target
	// Quarantine is set where the event is none: nil for all others.
	Quarantine *Quarantine
	// SourceName is the name of the event's source. It is not stored: where it is known, a
	// dispatcher of this process need not read the event back.
	SourceName string
}

// Verdict is what [Writer.Append] made of an entry.
type Verdict uint8

const (
	// Appended: durable, with its deliveries and its timeline entry.
	Appended Verdict = iota + 1
	// Duplicate: an event of the same id and content is durable already.
	Duplicate
	// Conflicting: an event of the same id and other content is durable already;
	// this content is kept, and an exception is raised.
	Conflicting
	// Deferred: its id is taken by other content, and its own could not be kept now,
	// since somebody holds the exception of its source. Nothing of it is kept, and it
	// may not be acknowledged; sending it again settles it.
	Deferred
	// Refused: the database cannot hold it. Nothing of it is kept.
	Refused
	// Quarantined: it is no event; it is kept as it came, and an exception is raised.
	Quarantined
)

// Result of one entry.
type Result struct {
	Verdict Verdict
	Lane    int16
	// Reason says what the database found wrong, where Refused or Deferred.
	Reason string
	// State is the SQLSTATE of that, where Refused.
	State string
}
