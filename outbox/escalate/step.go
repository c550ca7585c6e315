package escalate

import "time"

// Policy is what was said of an exception's kind when it was raised.
type Policy struct {
	// Levels in order; none: nobody is told.
	Levels []Level `json:"levels"`
	// Hours are those in which time counts; nil for always.
	Hours *Hours `json:"hours,omitempty"`
	// Quiet are the hours in which nobody is told; nil for none.
	Quiet *Hours `json:"quiet,omitempty"`
	// IgnoreClockIf is the condition under which neither counts, looked at whenever the
	// exception is; empty for never.
	IgnoreClockIf string `json:"ignore_clock_if,omitempty"`
	// AcknowledgeFor is how long the link of a notice acknowledges for, LinkValid how long the
	// link can be used; zero: the defaults.
	AcknowledgeFor time.Duration `json:"acknowledge_for,omitempty"`
	LinkValid      time.Duration `json:"link_valid,omitempty"`
}

// Level is one rung of the chain.
type Level struct {
	Team string `json:"team"`
	// After is how long after the level before, by the policy's clock; that of the first
	// counts from when the exception was raised. Nothing is at once, whatever the clock.
	After time.Duration `json:"after"`
	// Repeat is how long after it fired it fires again, until the next level does; 0 for
	// never.
	Repeat time.Duration `json:"repeat,omitempty"`
}

// State is what has happened to an exception so far.
type State struct {
	// Level is how many levels have fired, and Repeats how often the last of them did
	// again.
	Level, Repeats int
	// From is since when the time counts towards what is next: when the last level fired,
	// or the exception was raised; and Repeated when the last level fired the last time.
	From, Repeated time.Time
	// Rested is how much of the time since From does not count, since somebody had
	// acknowledged.
	Rested Rest
	// AcknowledgedAt and AcknowledgedUntil are when the last acknowledgement began and when
	// it expires; zero where there was none since it was last made up for.
	AcknowledgedAt, AcknowledgedUntil time.Time
	// Over: it is resolved or dismissed.
	Over bool
	// Urgent: it is severe or costly enough that neither clock nor quiet hours matter.
	Urgent bool
}

// Rest is time that does not count, by the policy's clock towards the next level, and by
// the same towards the next repeat.
type Rest struct{ Level, Repeat time.Duration }

// Step is what comes next.
type Step struct {
	// Fire: now, Level (from 0) is to be told; for the Repeat-th time, where that is not 0.
	Fire          bool
	Level, Repeat int
	// At is when to look again; zero where nothing comes by itself any more.
	At time.Time
}

// NextStep is what comes next of an exception. It is pure: now is the database's time.
func NextStep(s State, p *Policy, now time.Time) Step {
	s = s.settled(p, now)
	switch {
	case s.Over:
		return Step{}
	case now.Before(s.AcknowledgedUntil):
		return Step{At: s.AcknowledgedUntil}
	}
	hours, quiet := p.Hours, p.Quiet
	if s.Urgent {
		hours, quiet = nil, nil
	}
	next, ok := due(s, p, hours)
	if !ok {
		return Step{}
	}
	if now.Before(next.At) {
		return Step{At: next.At}
	}
	if until := quietUntil(quiet, now); until.After(now) {
		return Step{At: until}
	}
	next.Fire, next.At = true, time.Time{}
	return next
}

// due is which level fires next, and when: the next one, or the last once more, whichever
// comes first.
func due(s State, p *Policy, hours *Hours) (Step, bool) {
	var next Step
	found := false
	if s.Level < len(p.Levels) {
		at, ok := s.From, true
		if wait := p.Levels[s.Level].After + s.Rested.Level; wait > 0 {
			at, ok = hours.Add(s.From, wait)
		}
		next, found = Step{Level: s.Level, At: at}, ok
	}
	if s.Level > 0 {
		last := p.Levels[min(s.Level, len(p.Levels))-1]
		if last.Repeat > 0 {
			at, ok := hours.Add(s.Repeated, last.Repeat+s.Rested.Repeat)
			if ok && (!found || at.Before(next.At)) {
				next, found = Step{Level: s.Level - 1, Repeat: s.Repeats + 1, At: at}, true
			}
		}
	}
	return next, found
}

// Fired is the state after a step has fired.
func (s State) Fired(p *Policy, step Step, now time.Time) State {
	s = s.settled(p, now)
	s.Repeated, s.Rested.Repeat = now, 0
	if step.Repeat > 0 {
		s.Repeats = step.Repeat
		return s
	}
	s.Level, s.Repeats, s.From, s.Rested.Level = step.Level+1, 0, now, 0
	return s
}

// Acknowledge is the state once somebody has taken it up, until a moment: another
// acknowledgement ends there.
func (s State) Acknowledge(p *Policy, at, until time.Time) State {
	if at.Before(s.AcknowledgedUntil) {
		s.AcknowledgedUntil = at
	}
	s = s.settled(p, at)
	s.AcknowledgedAt, s.AcknowledgedUntil = at, until
	return s
}

// settled makes up for an acknowledgement that has expired: the time in it does not
// count, what counted before it counts still.
func (s State) settled(p *Policy, now time.Time) State {
	if s.AcknowledgedUntil.IsZero() || now.Before(s.AcknowledgedUntil) {
		return s
	}
	hours := p.Hours
	if s.Urgent {
		hours = nil
	}
	rest := hours.Between(s.AcknowledgedAt, s.AcknowledgedUntil)
	s.Rested.Level += rest
	s.Rested.Repeat += rest
	s.AcknowledgedAt, s.AcknowledgedUntil = time.Time{}, time.Time{}
	return s
}

// quietUntil is when quiet hours end that it is in now; now where it is in none.
func quietUntil(quiet *Hours, now time.Time) time.Time {
	if quiet.always() {
		return now // there are none
	}
	local := now.In(quiet.zone)
	year, month, day := local.Date()
	until := now
	for i := -1; i <= 8; i++ { // quiet all week long is quiet for a week, and then it is not
		for _, span := range quiet.day(year, month, day+i) {
			if !span[0].After(until) && span[1].After(until) {
				until = span[1]
			}
		}
	}
	return until
}
