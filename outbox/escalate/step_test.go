package escalate

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// told plays a policy against a clock that goes in steps of a minute, and returns who was
// told, when.
type told struct {
	t     *testing.T
	state State
	p     *Policy
	now   time.Time
	zone  *time.Location
	said  []string
}

func raise(t *testing.T, p *Policy, zone, at string) *told {
	now := wall(t, zone, at)
	return &told{t: t, state: State{From: now, Repeated: now}, p: p, now: now, zone: now.Location()}
}

// until goes on to a moment: whenever something is to be looked at, it is.
func (o *told) until(zone, at string) {
	end := wall(o.t, zone, at)
	for {
		step := NextStep(o.state, o.p, o.now)
		if step.Fire {
			name := o.p.Levels[step.Level].Team
			if step.Repeat > 0 {
				name = fmt.Sprintf("%s again (%d)", name, step.Repeat)
			}
			o.said = append(o.said, o.now.In(o.zone).Format("02 15:04 ")+name)
			o.state = o.state.Fired(o.p, step, o.now)
			continue
		}
		if step.At.IsZero() || step.At.After(end) {
			o.now = end
			return
		}
		if !step.At.After(o.now) {
			o.t.Fatalf("at %s it wants to be looked at again at %s", o.now, step.At)
		}
		o.now = step.At
	}
}

func (o *told) acknowledge(zone, until string) {
	o.state = o.state.Acknowledge(o.p, o.now, wall(o.t, zone, until))
}

func (o *told) want(lines ...string) {
	o.t.Helper()
	if got, want := strings.Join(o.said, "\n"), strings.Join(lines, "\n"); got != want {
		o.t.Errorf("told\n%s\nwant\n%s", got, want)
	}
}

const jakarta, london = "Asia/Jakarta", "Europe/London"

func TestNextStep(t *testing.T) {
	t.Parallel()
	chain := []Level{{Team: "catalogue"}, {Team: "outlet", After: 30 * time.Minute, Repeat: 2 * time.Hour}}
	shop := func(holidays ...string) *Hours { return hours(t, jakarta, "Mon-Sun 09:00-22:00", holidays...) }

	t.Run("NobodyReacts", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain}, jakarta, "2026-11-24 10:00")
		o.until(jakarta, "2026-11-24 14:40")
		o.want("24 10:00 catalogue", "24 10:30 outlet", "24 12:30 outlet again (1)", "24 14:30 outlet again (2)")
	})
	t.Run("OverNightAndHoliday", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain, Hours: shop("2026-11-25")}, jakarta, "2026-11-24 21:45")
		o.until(jakarta, "2026-11-26 12:00")
		o.want("24 21:45 catalogue", "26 09:15 outlet", "26 11:15 outlet again (1)")
	})
	t.Run("RaisedByNight", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain, Hours: shop()}, jakarta, "2026-11-24 23:00")
		o.until(jakarta, "2026-11-25 10:00")
		o.want("24 23:00 catalogue", "25 09:30 outlet")
	})
	t.Run("TheClockGoesBack", func(t *testing.T) {
		late := []Level{{Team: "one"}, {Team: "two", After: 10 * time.Hour}}
		o := raise(t, &Policy{Levels: late, Hours: hours(t, london, "Mon-Sun 09:00-17:00")}, london, "2026-10-24 09:00")
		o.until(london, "2026-10-26 00:00")
		o.want("24 09:00 one", "25 11:00 two")
	})
	t.Run("Acknowledged", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain, Hours: shop()}, jakarta, "2026-11-24 10:00")
		o.until(jakarta, "2026-11-24 10:10")
		o.acknowledge(jakarta, "2026-11-24 15:00")
		o.until(jakarta, "2026-11-24 15:19")
		o.want("24 10:00 catalogue")
		o.until(jakarta, "2026-11-24 15:30")
		o.want("24 10:00 catalogue", "24 15:20 outlet")
	})
	t.Run("AcknowledgedTwice", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain}, jakarta, "2026-11-24 10:00")
		o.until(jakarta, "2026-11-24 10:10")
		o.acknowledge(jakarta, "2026-11-24 15:00")
		o.until(jakarta, "2026-11-24 12:00")
		o.acknowledge(jakarta, "2026-11-24 13:00") // by another, for less long
		o.until(jakarta, "2026-11-24 13:10")
		o.acknowledge(jakarta, "2026-11-24 14:00")
		o.until(jakarta, "2026-11-24 15:00")
		o.want("24 10:00 catalogue", "24 14:10 outlet")
	})
	t.Run("AcknowledgedBetweenRepeats", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain}, jakarta, "2026-11-24 10:00")
		o.until(jakarta, "2026-11-24 11:00")
		o.acknowledge(jakarta, "2026-11-24 18:00")
		o.until(jakarta, "2026-11-24 19:40")
		o.want("24 10:00 catalogue", "24 10:30 outlet", "24 19:30 outlet again (1)")
	})
	t.Run("RepeatsUntilTheNextLevel", func(t *testing.T) {
		o := raise(t, &Policy{Levels: []Level{{Team: "one", Repeat: 10 * time.Minute}, {Team: "two", After: 25 * time.Minute}}}, jakarta, "2026-11-24 10:00")
		o.until(jakarta, "2026-11-25 10:00")
		o.want("24 10:00 one", "24 10:10 one again (1)", "24 10:20 one again (2)", "24 10:25 two")
	})
	t.Run("QuietHours", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain[:1], Quiet: hours(t, jakarta, "Mon-Sun 22:00-07:00")}, jakarta, "2026-11-24 23:10")
		o.until(jakarta, "2026-11-25 12:00")
		o.want("25 07:00 catalogue")
	})
	t.Run("UrgentKnowsNeither", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain, Hours: shop(), Quiet: hours(t, jakarta, "Mon-Sun 22:00-07:00")}, jakarta, "2026-11-24 23:10")
		o.state.Urgent = true
		o.until(jakarta, "2026-11-25 00:00")
		o.want("24 23:10 catalogue", "24 23:40 outlet")
	})
	t.Run("BecomesUrgent", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain, Hours: shop()}, jakarta, "2026-11-24 21:50")
		o.until(jakarta, "2026-11-24 23:00")
		o.state.Urgent = true
		o.until(jakarta, "2026-11-24 23:30")
		o.want("24 21:50 catalogue", "24 23:00 outlet")
	})
	t.Run("Over", func(t *testing.T) {
		o := raise(t, &Policy{Levels: chain}, jakarta, "2026-11-24 10:00")
		o.until(jakarta, "2026-11-24 10:10")
		o.state.Over = true
		o.until(jakarta, "2026-11-25 10:00")
		o.want("24 10:00 catalogue")
	})
	t.Run("LookedAtLate", func(t *testing.T) {
		s := State{From: wall(t, jakarta, "2026-11-24 10:00"), Repeated: wall(t, jakarta, "2026-11-24 10:00"), Level: 1}
		step := NextStep(s, &Policy{Levels: chain}, wall(t, jakarta, "2026-11-24 20:00"))
		if !step.Fire || step.Level != 1 {
			t.Errorf("%+v, want the second level, late", step)
		}
	})
}
