package outbox

import (
	"errors"
	"testing"
	"time"
)

func TestExceptionState_Take(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	hour := now.Add(time.Hour)
	budi, nobody := "budi", ""
	open := exceptionState{Class: "VALIDATION", Status: NeedsAPerson, Version: 7, Stepped: 4, Held: 6, Now: now}
	with := func(change func(*exceptionState)) exceptionState {
		x := open
		change(&x)
		return x
	}
	empty := with(func(x *exceptionState) { x.Held = 0 })
	of := func(class string) exceptionState { return with(func(x *exceptionState) { x.Class = class }) }
	closed := with(func(x *exceptionState) { x.Status, x.Held = Resolved, 0 })
	version := func(n int32) *int32 { return &n }
	for name, c := range map[string]struct {
		x    exceptionState
		q    ExceptionRequest
		want taken // status, what, queued, skips, again, reopened, assignee
		err  string
	}{
		"Acknowledge":            {x: open, q: ExceptionRequest{Step: StepAcknowledge, Until: hour}, want: taken{exceptionState: exceptionState{Status: AcknowledgedStatus}, what: "acknowledge"}},
		"AcknowledgeInProgress":  {x: with(func(x *exceptionState) { x.Status = InProgress }), q: ExceptionRequest{Step: StepAcknowledge, Until: hour}, want: taken{exceptionState: exceptionState{Status: InProgress}, what: "acknowledge"}},
		"AcknowledgeThePast":     {x: open, q: ExceptionRequest{Step: StepAcknowledge, Until: now}, err: "refused"},
		"AcknowledgeForEver":     {x: open, q: ExceptionRequest{Step: StepAcknowledge, Until: now.Add(31 * 24 * time.Hour)}, err: "refused"},
		"Start":                  {x: open, q: ExceptionRequest{Step: StepStart}, want: taken{exceptionState: exceptionState{Status: InProgress, Assignee: new("ayu")}, what: "start"}},
		"StartForAnother":        {x: open, q: ExceptionRequest{Step: StepStart, Assignee: &budi}, want: taken{exceptionState: exceptionState{Status: InProgress, Assignee: &budi}, what: "start"}},
		"Assign":                 {x: open, q: ExceptionRequest{Step: StepAssign, Assignee: &budi}, want: taken{exceptionState: exceptionState{Status: NeedsAPerson, Assignee: &budi}, what: "assign"}},
		"AssignNobody":           {x: with(func(x *exceptionState) { x.Assignee = &budi }), q: ExceptionRequest{Step: StepAssign, Assignee: &nobody}, want: taken{exceptionState: exceptionState{Status: NeedsAPerson}, what: "assign"}},
		"AssignNothing":          {x: open, q: ExceptionRequest{Step: StepAssign}, err: "refused"},
		"Comment":                {x: closed, q: ExceptionRequest{Step: StepComment, ExpectedVersion: version(1)}, want: taken{exceptionState: exceptionState{Status: Resolved}, what: "comment"}},
		"ResolveEmpty":           {x: empty, q: ExceptionRequest{Step: StepResolve}, want: taken{exceptionState: exceptionState{Status: Resolved}, what: "resolved"}},
		"ResolveWhatHolds":       {x: open, q: ExceptionRequest{Step: StepResolve}, err: "refused"},
		"ResolveConflict":        {x: of(ClassConflict), q: ExceptionRequest{Step: StepResolve}, want: taken{exceptionState: exceptionState{Status: Resolved}, what: "resolved"}},
		"ResolveLate":            {x: of(ClassLate), q: ExceptionRequest{Step: StepResolve}, err: "refused"},
		"ResolveSilent":          {x: of(ClassSourceSilent), q: ExceptionRequest{Step: StepResolve}, err: "refused"},
		"Retry":                  {x: open, q: ExceptionRequest{Step: StepRetry}, want: taken{exceptionState: exceptionState{Status: Resolved}, what: "resolved", queued: true}},
		"RetryEmpty":             {x: empty, q: ExceptionRequest{Step: StepRetry}, err: "refused"},
		"RetryWebhooks":          {x: of(ClassQuarantined), q: ExceptionRequest{Step: StepRetry}, want: taken{exceptionState: exceptionState{Status: NeedsAPerson}, what: "retry", again: true}},
		"Dismiss":                {x: open, q: ExceptionRequest{Step: StepDismiss}, want: taken{exceptionState: exceptionState{Status: Dismissed}, what: "dismissed", queued: true, skips: true}},
		"DismissConflict":        {x: of(ClassConflict), q: ExceptionRequest{Step: StepDismiss}, want: taken{exceptionState: exceptionState{Status: Dismissed}, what: "dismissed"}},
		"DismissLostDestination": {x: with(func(x *exceptionState) { x.HoldsDestination = true }), q: ExceptionRequest{Step: StepDismiss}, err: "refused"},
		"Reopen":                 {x: closed, q: ExceptionRequest{Step: StepReopen}, want: taken{exceptionState: exceptionState{Status: NeedsAPerson}, what: "reopen", reopened: 1}},
		"ReopenWhileLettingGo":   {x: with(func(x *exceptionState) { x.Status, x.Leaving = Resolved, true }), q: ExceptionRequest{Step: StepReopen}, err: "refused"},
		"ReopenLate":             {x: with(func(x *exceptionState) { x.Status, x.Class = Resolved, ClassLate }), q: ExceptionRequest{Step: StepReopen}, err: "refused"},
		"ReopenOpen":             {x: open, q: ExceptionRequest{Step: StepReopen}, err: "conflict"},
		"ResolveResolved":        {x: closed, q: ExceptionRequest{Step: StepResolve}, err: "conflict"},
		"SeenAllThatWasDecided":  {x: open, q: ExceptionRequest{Step: StepStart, ExpectedVersion: version(5)}, want: taken{exceptionState: exceptionState{Status: InProgress, Assignee: new("ayu")}, what: "start"}},
		"SomebodyDecidedSince":   {x: open, q: ExceptionRequest{Step: StepStart, ExpectedVersion: version(3)}, err: "conflict"},
		"AVersionThatIsNotThere": {x: open, q: ExceptionRequest{Step: StepStart, ExpectedVersion: version(8)}, err: "conflict"},
	} {
		got, err := c.x.take(&c.q, "ayu")
		var refusal *Refusal
		switch {
		case c.err == "refused" && errors.As(err, &refusal), c.err == "conflict" && errors.Is(err, ErrConflict):
			continue
		case c.err != "" || err != nil:
			t.Errorf("%s: %v, want %q", name, err, c.err)
			continue
		}
		if got.Status != c.want.Status || got.what != c.want.what || got.queued != c.want.queued || got.skips != c.want.skips ||
			got.again != c.want.again || got.reopened != c.want.reopened || value(got.Assignee) != value(c.want.Assignee) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestStatusNow(t *testing.T) {
	t.Parallel()
	now := time.Now()
	until := now.Add(time.Minute)
	if got := statusNow(AcknowledgedStatus, &until, now); got != AcknowledgedStatus {
		t.Errorf("before its end it is %s", got)
	}
	if got := statusNow(AcknowledgedStatus, &until, until); got != NeedsAPerson {
		t.Errorf("at its end it is %s", got)
	}
	if got := statusNow(InProgress, &until, until); got != InProgress {
		t.Errorf("work in progress is %s", got)
	}
}

func TestCheckExposure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		e  Exposure
		ok bool
	}{
		"Money":           {Exposure{"IDR", "31000", "2"}, true},
		"Refund":          {Exposure{"USD", "-12.50", ""}, true},
		"UnitsAlone":      {Exposure{"", "", "3"}, true},
		"NoCurrency":      {Exposure{"", "5", ""}, false},
		"NoAmount":        {Exposure{"IDR", "", "1"}, false},
		"NoNumber":        {Exposure{"IDR", "NaN", ""}, false},
		"TooLong":         {Exposure{"IDR", "1234567890123456789", ""}, false},
		"ACurrencysName":  {Exposure{"rupiah", "5", ""}, false},
		"HalfAUnitFitsIn": {Exposure{"", "", "0.5"}, true},
	} {
		if err := CheckExposure(c.e); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
