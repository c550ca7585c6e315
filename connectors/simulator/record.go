package simulator

import "time"

// Result is what a request came to at the platform, whatever it was answered.
type Result string

const (
	// ResultEffect: it brought something about, for the first time under its key.
	ResultEffect Result = "effect"
	// ResultRepeat: its key has had its effect, with the same body; nothing new.
	ResultRepeat Result = "repeat"
	// ResultRefused: the platform will not have it; Code says why.
	ResultRefused Result = "refused"
	// ResultFault: the platform failed before it looked at it.
	ResultFault Result = "fault"
)

// Request is one line of a ledger: a request as it came in, and what came of it.
type Request struct {
	// Seq numbers the lines from 1, in the order of their decisions.
	Seq int64 `json:"seq"`
	// At is the time of arrival, when the head of the request had been read.
	At time.Time `json:"at"`
	// Key is the Idempotency-Key, WebhookID the webhook-id, as sent.
	Key       string `json:"key"`
	WebhookID string `json:"webhook_id"`
	// Event, Source, Type and OrderingKey are the attributes id, source, type and
	// subject of CloudEvents (HTTP protocol binding 1.0.2, binary content mode).
	// Where the sender sends no id, Event is the webhook-id, and the others may be
	// empty.
	Event       string `json:"event"`
	Source      string `json:"source,omitempty"`
	Type        string `json:"type,omitempty"`
	OrderingKey string `json:"ordering_key,omitempty"`
	// Body is the SHA-256 of the body in hexadecimal, Bytes its length.
	Body  string `json:"body"`
	Bytes int    `json:"bytes"`

	Result Result `json:"result"`
	// Code says why, where the request was refused.
	Code string `json:"code,omitempty"`
	// Fault is how the platform failed, before or after the effect.
	Fault Fault `json:"fault,omitempty"`
}

// Counts are numbers of lines of one type of event.
type Counts struct {
	Requests int64 `json:"requests"`
	Effects  int64 `json:"effects"`
	Refused  int64 `json:"refused"`
}

// Summary is what a ledger comes to.
type Summary struct {
	Platform  string    `json:"platform"`
	Behaviour Behaviour `json:"behaviour"`
	PID       int       `json:"pid"`

	Requests int64 `json:"requests"`
	Effects  int64 `json:"effects"`
	Repeats  int64 `json:"repeats"`
	Refused  int64 `json:"refused"`
	// Duplicates counts effects whose key or whose event had an effect before.
	Duplicates int64 `json:"duplicates"`
	// ByType is by type of event, where the sender says it; "" where it does not.
	ByType map[string]Counts `json:"by_type"`
	// Refusals is by code, Faults by kind.
	Refusals map[string]int64 `json:"refusals"`
	Faults   map[Fault]int64  `json:"faults"`
}

// keyed is what a platform remembers of an idempotency key.
type keyed struct {
	requests int
	// effect is the Seq of the effect, 0 while there is none.
	effect int64
	body   string
}

// book is what the lines of a ledger amount to. It is made by adding the lines one
// by one, the same way while they are written and when they are read again.
type book struct {
	seq     int64
	summary Summary
	keys    map[string]keyed
	events  map[string]struct{}
}

func newBook() *book {
	return &book{
		keys:   map[string]keyed{},
		events: map[string]struct{}{},
		summary: Summary{
			ByType:   map[string]Counts{},
			Refusals: map[string]int64{},
			Faults:   map[Fault]int64{},
		},
	}
}

func (b *book) add(r *Request) {
	b.seq = r.Seq
	s, key, byType := &b.summary, b.keys[r.Key], b.summary.ByType[r.Type]
	key.requests++
	s.Requests++
	byType.Requests++
	if r.Fault != FaultNone {
		s.Faults[r.Fault]++
	}
	switch r.Result {
	case ResultEffect:
		s.Effects++
		byType.Effects++
		event := r.Source + "\x00" + r.Event
		_, again := b.events[event]
		if again || key.effect != 0 {
			s.Duplicates++
		}
		b.events[event] = struct{}{}
		key.effect, key.body = r.Seq, r.Body
	case ResultRepeat:
		s.Repeats++
	case ResultRefused:
		s.Refused++
		byType.Refused++
		s.Refusals[r.Code]++
	case ResultFault:
	}
	b.keys[r.Key] = key
	s.ByType[r.Type] = byType
}
