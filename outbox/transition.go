package outbox

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Transition is what one attempt makes of its delivery. It is a value: deciding it
// is pure, storing it is [Replica.Finish].
type Transition struct {
	*Delivery
	// Sent tells whether a request was intended; an attempt that failed in Prepare
	// never was.
	Sent      bool
	StartedAt time.Time // of the intent; zero where none
	Duration  time.Duration
	Kind      raffsyncv1.OutcomeKind
	Reason    string
	Detail    Detail
	// UnknownAt is when the first request of the delivery was made that may have had its
	// effect; nil where each is proven to have had none. It replaces the delivery's.
	UnknownAt *time.Time

	// To is the delivery's next state: StateDelivered, StateWaiting, StateNeedsAction,
	// StateSuperseded; StateSkipped where its route is in shadow; StatePending where its step is done and another follows.
	To string
	// Spent is the number of attempts spent so far by the policy's count.
	Spent int32
	// Delay until the next attempt, where To is StateWaiting.
	Delay time.Duration
	// Cause is what needs action, where To is StateNeedsAction. Where look-ups are what
	// needs it, Missed says which, and Cause says nothing.
	Cause  Cause
	Missed *Missed
	// Exposure is what the delivery is worth while it is held; nil where its route does not
	// say.
	Exposure *Exposure
	// Outlet of its event, where To is StateNeedsAction; "" for none. Passes: its route lets
	// what comes behind it go past.
	Outlet string
	Passes bool
	// Snapshot is what the destination has from now on, where To is StateDelivered and the
	// route names a version.
	Snapshot *Snapshot
	// Done is the step that is done, and Effect what it has brought about; nil where the
	// route names none.
	Done   *StepDone
	Effect *EffectDone
	// Shadow is what would have become of it, where To is StateSkipped: nothing was sent.
	Shadow *Shadow
	// Inherited: UnknownAt is what the ledger knew of the effect that was claimed.
	Inherited bool
}

// Detail is kept with the attempt's timeline entry. Nothing of it is secret.
type Detail struct {
	Status     int    `json:"status,omitempty"`
	Rule       string `json:"rule,omitempty"`
	Code       string `json:"code,omitempty"`
	Field      string `json:"field,omitempty"`
	ExternalID string `json:"externalId,omitempty"`
	URL        string `json:"url,omitempty"`
	Excerpt    string `json:"excerpt,omitempty"`
	// Asked: the request was a question about what had become of an earlier one.
	Asked bool `json:"asked,omitempty"`
	// SupersededBy is the id of the event whose newer snapshot has been applied.
	SupersededBy string `json:"supersededBy,omitempty"`
	// Step and Effect are their names, where the route names them; Fields are the rest of
	// the receipt.
	Step   string            `json:"step,omitempty"`
	Effect string            `json:"effect,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
}

// alone tells whether nothing but the delivery and its timeline changes with it.
func (t *Transition) alone() bool { return t.Done == nil && t.Effect == nil && t.Snapshot == nil }

// json is nil where there is no detail. Texts come from platforms, so whatever
// Postgres cannot hold is replaced: one odd answer must not stop its neighbours.
func (d Detail) json() *string {
	if d.isAnswer() && isPlain(d.Rule) { // as of most that are delivered
		return d.answerJSON()
	}
	d.Rule, d.Code, d.Field = storable(d.Rule), storable(d.Code), storable(d.Field)
	d.ExternalID, d.URL, d.Excerpt = storable(d.ExternalID), storable(d.URL), storable(d.Excerpt)
	d.SupersededBy = storable(d.SupersededBy)
	d.Fields = Receipt{Fields: d.Fields}.storable().Fields
	b, err := json.Marshal(d)
	if err != nil || string(b) == "{}" {
		return nil // texts and a number always marshal
	}
	text := string(b)
	return &text
}

// isAnswer tells whether it says no more than by which rule what status was understood.
func (d *Detail) isAnswer() bool {
	return d.Code == "" && d.Field == "" && d.ExternalID == "" && d.URL == "" && d.Excerpt == "" &&
		!d.Asked && d.SupersededBy == "" && d.Step == "" && d.Effect == "" && len(d.Fields) == 0
}

// isPlain tells whether a text is its own JSON, but for the quotes.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || strings.IndexByte(`"\<>&`, c) >= 0 {
			return false
		}
	}
	return len(text) <= longestText
}

// answerJSON is the same as by reflection, for a fifth of the time.
func (d *Detail) answerJSON() *string {
	text := make([]byte, 0, 64)
	if d.Status != 0 {
		text = strconv.AppendInt(append(text, `,"status":`...), int64(d.Status), 10)
	}
	if d.Rule != "" {
		text = append(append(append(text, `,"rule":"`...), d.Rule...), '"')
	}
	if len(text) == 0 {
		return nil
	}
	text[0] = '{'
	return new(string(append(text, '}')))
}
