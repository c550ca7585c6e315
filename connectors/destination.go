package connectors

import (
	"context"
	"time"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Event is an immutable fact, as destinations see it. Data is shared between
// goroutines and never changed.
type Event struct {
	Tenant, Source string
	ID, Type       string
	OrderingKey    string
	OccurredAt     time.Time
	AcceptedAt     time.Time
	Outlet         string
	References     map[string]string
	ContentType    string
	Data           []byte
}

// Step is one step of one delivery, about to be prepared.
type Step struct {
	Event       *Event
	Destination string
	// Index counts the steps of the delivery from 0; Effect is the business name
	// of what the step brings about: the event's id where the route names none.
	Index  int
	Effect string
	// Attempt counts the requests of this step from 1, this one included.
	Attempt int
	// Key is the idempotency key: the same for every attempt of the step until an
	// earlier one is proven to be without effect. 64 hexadecimal digits; a platform
	// that takes fewer gets the first ones.
	Key string

	// Name of the step in its route; "" where the route names no steps. Plan is what
	// [Planner.Plan] made of it; nil where it names none.
	Name string
	Plan any
	// Outlet of the event; zero where none is known.
	Outlet Outlet
	// Receipts of the earlier steps of this delivery, by step name.
	Receipts map[string]Receipt
	// Existing is the receipt of the effect where it is there already and is to be
	// updated; nil where it is to be made.
	Existing *Receipt
	// Lookup finds a value's counterpart in the mapping tables for this destination, as
	// they are today; nil where there are none.
	Lookup func(table, value string) (string, bool)
}

// Request is a prepared step: whatever the destination that made it needs to send
// it. It holds no secret that [Destination.Send] could add itself.
type Request any

// Destination is one configured system that receives.
//
// Both methods are called from many goroutines at once. A panic in either becomes
// an exception of that delivery and stops nothing else.
type Destination interface {
	// Prepare makes the step's request from the untouched event. It is pure: no
	// I/O, no clock, the same request every time. What it cannot do is an error of
	// type *[PrepareError], which becomes an exception without any request; any
	// other error is taken as POISON.
	Prepare(Step) (Request, error)

	// Send puts the request on the wire, once, and says what came of it. It returns
	// by the context's deadline. It has no error: what went wrong is an outcome.
	Send(ctx context.Context, request Request) Outcome

	// Traits says what the platform promises.
	Traits() Traits
}

// Traits are what a platform promises, by its documentation or configuration.
type Traits struct {
	// Idempotent: two requests with one key have one effect, so that a step whose
	// outcome is unknown may be sent again with the same key.
	Idempotent bool
	// DeduplicationWindow is how long the platform remembers a key; zero is for
	// ever. Nothing is sent again by itself after it.
	DeduplicationWindow time.Duration
	// AsksByEvent: the platform is asked by the event's id, and so cannot tell what became
	// of another event's request for the same effect.
	AsksByEvent bool
}

// PrepareError says why no request can be made of a step.
type PrepareError struct {
	// Kind is the class of exception that it becomes.
	Kind raffsyncv1.OutcomeKind
	// Code and Field name the cause: exceptions group by them, never by the message.
	Code, Field string
	Message     string
	// Missing are the look-ups that found nothing. Where there are any, the delivery hangs
	// on one exception for each (table, value), of the class that [Miss.Kind] names, until
	// the last of them has an answer; Kind, Code, Field and Message say nothing then.
	Missing []Miss
}

func (e *PrepareError) Error() string { return e.Message }

// Outcome is what one attempt came to.
type Outcome struct {
	Kind raffsyncv1.OutcomeKind
	// Rule names the rule that decided the kind: "no connection", or a name from a
	// rule set ("status 5xx"); "status 418" where no rule knew the answer. Code and
	// Field are the platform's own, where it gives them. Exceptions group by the three.
	Rule, Code, Field string
	// Reason is one line for people and the timeline, without secrets or payload.
	Reason string
	// Status is the HTTP status, or 0 where there was none.
	Status int
	// RetryAfter is how long the platform asks to be left alone, from the moment of
	// the answer; zero where it does not say.
	RetryAfter time.Duration
	// ExternalID and URL are the receipt: what the platform calls it, where to see it.
	ExternalID, URL string
	// Fields are the rest of the receipt; see [Receipt].
	Fields map[string]string
	// Excerpt is the beginning of the answer, redacted, at most 1 KiB.
	Excerpt string
}
