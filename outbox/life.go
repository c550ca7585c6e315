package outbox

import (
	"fmt"
	"slices"
	"time"
)

// States of an exception. Those that are open are the first three.
const (
	NeedsAPerson = "NEEDS_ACTION"
	// Acknowledged until some time: then it needs action again, by itself.
	AcknowledgedStatus = "ACKNOWLEDGED"
	InProgress         = "IN_PROGRESS"
	Resolved           = "RESOLVED"
	Dismissed          = "DISMISSED"
)

// ExceptionStep is what a person does with an exception.
//
//	NEEDS_ACTION ─acknowledge→ ACKNOWLEDGED ─its time is over→ NEEDS_ACTION
//	any open     ─start→       IN_PROGRESS
//	any open     ─resolve→     RESOLVED, where it holds nothing
//	any open     ─retry→       RESOLVED, and what it holds is tried again
//	any open     ─dismiss→     DISMISSED, and what it holds is skipped
//	closed       ─reopen→      NEEDS_ACTION
//
// assign and comment change no state. A cause that comes back by itself is a new exception
// that names the one before: so what was decided about that one stays as it was.
type ExceptionStep string

// Steps.
const (
	StepAcknowledge ExceptionStep = "acknowledge"
	StepAssign      ExceptionStep = "assign"
	StepStart       ExceptionStep = "start"
	StepComment     ExceptionStep = "comment"
	StepResolve     ExceptionStep = "resolve"
	StepDismiss     ExceptionStep = "dismiss"
	StepReopen      ExceptionStep = "reopen"
	StepRetry       ExceptionStep = "retry"
)

// MaxAcknowledged is for how long an acknowledgement may last: what nobody looks at for
// longer is not being worked on.
const MaxAcknowledged = 30 * 24 * time.Hour

// exceptionState is what decides which step can be taken.
type exceptionState struct {
	Class             string
	Status            string
	Version, Stepped  int32
	Held              int64
	HoldsDestination  bool
	Leaving           bool // what it held is being set free or skipped
	AcknowledgedAt    *time.Time
	AcknowledgedUntil *time.Time
	Assignee, Team    *string
	Now               time.Time
}

func (x *exceptionState) open() bool { return x.Status != Resolved && x.Status != Dismissed }

// holding tells whether what it counts are deliveries that hang on it.
func (x *exceptionState) holding() bool {
	switch x.Class {
	case ClassConflict, ClassLate, ClassQuarantined, ClassSourceSilent, ClassAuthExpiring, ClassUnrouted:
		return false
	}
	return x.Held > 0
}

// byItself tells of classes that the engine raises and resolves by what it sees, and why
// a person cannot say that one is resolved; "" for others.
func (x *exceptionState) byItself() string {
	switch x.Class {
	case ClassLate:
		return "it resolves by itself when nothing that was late is open any more"
	case ClassSourceSilent:
		return "it resolves by itself when the source sends something again"
	case ClassAuthExpiring:
		return "it resolves by itself when the connection is renewed"
	}
	return ""
}

// taken is what a step comes to.
type taken struct {
	exceptionState
	what     string // in the timeline
	reopened int32
	queued   bool // what it holds is let go of
	skips    bool // by skipping it
	again    bool // its webhooks are evaluated again
}

// take is pure. It is refused by a [*Refusal]; that it is closed already, or open, is a
// conflict of two people.
func (x exceptionState) take(q *ExceptionRequest, actor string) (taken, error) {
	t := taken{exceptionState: x, what: string(q.Step)}
	switch {
	case q.Step == StepComment:
		return t, nil
	case q.ExpectedVersion != nil && (*q.ExpectedVersion < x.Stepped || *q.ExpectedVersion > x.Version), x.open() == (q.Step == StepReopen):
		return t, ErrConflict
	}
	switch q.Step {
	case StepAcknowledge:
		if !q.Until.After(x.Now) || q.Until.Sub(x.Now) > MaxAcknowledged {
			return t, &Refusal{Field: "until", Message: "until must be later than now, by 30 days at most"}
		}
		t.AcknowledgedAt, t.AcknowledgedUntil = &x.Now, &q.Until
		if t.Status != InProgress {
			t.Status = AcknowledgedStatus
		}
	case StepAssign:
		if q.Assignee == nil && q.Team == nil {
			return t, &Refusal{Field: "assignee", Message: "name an assignee or a team; an empty name takes it off"}
		}
		t.Assignee, t.Team = orKeep(q.Assignee, x.Assignee), orKeep(q.Team, x.Team)
	case StepStart:
		t.Status = InProgress
		if t.Assignee, t.Team = orKeep(q.Assignee, x.Assignee), orKeep(q.Team, x.Team); t.Assignee == nil {
			t.Assignee = &actor
		}
	case StepReopen:
		return t, x.reopen(&t)
	default:
		return t, x.close(q, &t)
	}
	return t, nil
}

// orKeep is what was asked for: nothing leaves it as it is, an empty name takes it off.
func orKeep(asked, is *string) *string {
	switch {
	case asked == nil:
		return is
	case *asked == "":
		return nil
	}
	return asked
}

func (x *exceptionState) close(q *ExceptionRequest, t *taken) error {
	if x.HoldsDestination {
		return &Refusal{Message: "it holds its destination as a whole: connect that again, then `raffsync resume authorisation`"}
	}
	t.what, t.Status = "resolved", Resolved
	switch q.Step {
	case StepResolve:
		if why := x.byItself(); why != "" {
			return &Refusal{Message: why + "; dismiss it to put it aside"}
		}
		if x.holding() {
			return &Refusal{Message: fmt.Sprintf("what it holds, %d in all, is not done: retry that, or dismiss it to skip that", x.Held)}
		}
	case StepRetry:
		if t.again = x.Class == ClassQuarantined; t.again {
			t.what, t.Status = "retry", x.Status // it resolves with the last of them
			return nil
		}
		if !x.holding() {
			return &Refusal{Message: "it holds no deliveries: there is nothing to try again"}
		}
		t.queued = true
	case StepDismiss:
		t.what, t.Status = "dismissed", Dismissed
		t.queued = x.holding()
		t.skips = t.queued
	default:
		return &Refusal{Message: fmt.Sprintf("there is no step %q", q.Step)}
	}
	return nil
}

func (x *exceptionState) reopen(t *taken) error {
	switch {
	case x.byItself() != "" || x.HoldsDestination:
		return &Refusal{Message: "it is raised again by itself when its cause is there again"}
	case x.Leaving:
		return &Refusal{Message: "what it held is still being let go of; try again in a moment"}
	}
	t.Status, t.AcknowledgedAt, t.AcknowledgedUntil, t.reopened = NeedsAPerson, nil, nil, 1
	return nil
}

// statusNow is a status as it is by then: what was acknowledged until a time before it
// needs action again.
func statusNow(status string, until *time.Time, now time.Time) string {
	if status == AcknowledgedStatus && until != nil && !until.After(now) {
		return NeedsAPerson
	}
	return status
}

// steps that there are.
func (s ExceptionStep) known() bool {
	return slices.Contains([]ExceptionStep{StepAcknowledge, StepAssign, StepStart, StepComment, StepResolve, StepDismiss, StepReopen, StepRetry}, s)
}
