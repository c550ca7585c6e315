package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"raffsync/outbox"
	"raffsync/outbox/escalate"
)

const (
	maxPolicies = 100
	maxLevels   = 16
)

func escalation(into *[]outbox.EscalationConfig) field {
	const takes = "a list of policies"
	return field{
		name: "escalation", takes: takes, fallback: "nobody is told", listed: true, inside: policyFields(newPolicy()),
		doc: "Who is told of an exception, and when. Of the policies the first that matches is copied into the exception when it is raised: a later change is for later ones.",
		decode: func(d *decoder, v value) {
			for _, e := range d.elements(v, takes, maxPolicies) {
				policy := newPolicy()
				d.object(e, policyFields(policy))
				*into = append(*into, *policy)
			}
		},
	}
}

// elements are those of a list that must have some.
func (d *decoder) elements(v value, takes string, most int) (all []value) {
	sequence, ok := v.node.(*ast.SequenceNode)
	if !ok {
		d.fail(v.at(), v.path, "found %s; expected %s", v.kind(), takes)
		return nil
	}
	if len(sequence.Values) == 0 || len(sequence.Values) > most {
		d.fail(v.at(), v.path, "found a list of %d; expected 1 to %d, or leave the field out", len(sequence.Values), most)
		return nil
	}
	for i, n := range sequence.Values {
		e := value{path: element(v.path, i), node: n}
		d.places[e.path] = e.at()
		all = append(all, e)
	}
	return all
}

func newPolicy() *outbox.EscalationConfig {
	return &outbox.EscalationConfig{Clock: outbox.ClockAlways}
}

const takesHours = "days and times, as \"Mon-Fri 09:00-18:00, Sat 10:00-14:00\""

func policyFields(c *outbox.EscalationConfig) []field {
	const levelsTakes = "a list of levels"
	return []field{
		text("when", &c.When, 4096, `a condition, as class == "LATE"`, "every exception",
			"A condition in CEL over `class`, `destination`, `source`, `outlet`, `severity` (LOW, MEDIUM, HIGH, CRITICAL), `exposure` (money at stake by currency, as `exposure.IDR`), `held` and `age` (`duration(\"1h\")`). What is not known is empty, and what compares with an exposure that there is not is false."),
		choice("clock", &c.Clock, []outbox.Clock{outbox.ClockAlways, outbox.ClockOutletHours},
			"When the time of `after` and `repeat` counts. The outlet is that of a delivery that the exception holds; where it has none, or no hours, time counts always."),
		text("quiet", &c.Quiet, 1024, takesHours, "none", "Hours in which nobody is told, by the clock of the outlet: what is due then waits for their end."),
		text("quiet_timezone", &c.QuietTimezone, 64, "a time zone by its name, as Asia/Jakarta", "UTC", "Of the quiet hours where the exception has no outlet with a time zone."),
		text("ignore_clock_if", &c.IgnoreClockIf, 4096, "a condition, as exposure.IDR > 5000000", "never",
			"A condition over the same, looked at every minute: while it holds, neither opening nor quiet hours count."),
		optional(duration("acknowledge_for", &c.AcknowledgeFor, 5*time.Minute, outbox.MaxAcknowledged, "How long the link of a notice acknowledges for: then the chain goes on."), "4h"),
		optional(duration("link_valid", &c.LinkValid, time.Hour, outbox.MaxAcknowledged, "How long that link can be used."), "72h"),
		{
			name: "levels", takes: levelsTakes, required: true, listed: true, inside: levelFields(new(outbox.LevelConfig)),
			doc: "Who is told, one after the other, until somebody acknowledges the exception or it is over.",
			decode: func(d *decoder, v value) {
				for _, e := range d.elements(v, levelsTakes, maxLevels) {
					var level outbox.LevelConfig
					if _, empty := e.node.(*ast.NullNode); !empty {
						d.object(e, levelFields(&level))
					}
					c.Levels = append(c.Levels, level)
				}
			},
		},
	}
}

func levelFields(c *outbox.LevelConfig) []field {
	team := name("team", &c.Team, "the name of a team", "Who is told.")
	team.fallback = "the team of the outlet"
	return []field{
		team,
		optional(duration("after", &c.After, time.Minute, maxAge, "How long after the level before, and of the first after the exception was raised."), "at once, for the first level alone"),
		optional(duration("repeat", &c.Repeat, 5*time.Minute, maxAge, "How often it is told again, until the next level is."), "never"),
	}
}

// checkEscalation looks at what teams, outlets and policies name, and at what makes no
// sense together.
func (d *decoder) checkEscalation(c *outbox.Configuration) {
	var teams []string
	for _, t := range c.Teams {
		teams = append(teams, t.Name)
	}
	known := func(path, name string) {
		if name != "" && !slices.Contains(teams, name) {
			d.fail(d.places[path], path, "there is no team %q%s expected one of %s", name, didYouMean(name, teams), choices(teams))
		}
	}
	outletTeam := false
	for _, o := range c.Outlets {
		outletTeam = outletTeam || o.Team != ""
		known("outlets."+o.Name+".team", o.Team)
		d.checkHours("outlets."+o.Name, o)
	}
	for i, p := range c.Escalation {
		path := element("escalation", i)
		for j, l := range p.Levels {
			level := element(path+".levels", j)
			known(level+".team", l.Team)
			if l.Team == "" && !outletTeam {
				d.fail(d.places[level], level, "names no team, and no outlet has one; expected a team")
			}
			if j > 0 && l.After == 0 {
				d.fail(d.places[level], level, "comes without a delay after the level before; expected after: 30m or so, or one team for both")
			}
			if k := slices.IndexFunc(p.Levels[:j], func(o outbox.LevelConfig) bool { return o.Team == l.Team }); k >= 0 {
				d.fail(d.places[level], level, "tells who is told by level %d already; expected another team, or repeat: at that level", k+1)
			}
		}
		for k, earlier := range c.Escalation[:i] {
			if strings.TrimSpace(earlier.When) == "" || strings.TrimSpace(earlier.When) == strings.TrimSpace(p.When) {
				d.fail(d.places[path], path, "is never reached: policy %d matches whatever it does, and the first that matches counts", k+1)
				break
			}
		}
		if p.QuietTimezone != "" && !isZone(p.QuietTimezone) {
			d.fail(d.places[path+".quiet_timezone"], path+".quiet_timezone", "there is no time zone %q%s expected one by its name, as Asia/Jakarta", short(p.QuietTimezone), didYouMeanZone(p.QuietTimezone))
			c.Escalation[i].QuietTimezone = ""
		}
	}
	_, err := escalate.CompilePolicies(c)
	for _, cause := range causes(err) {
		d.policyProblem(c, cause)
	}
	d.checkAddresses(c)
}

func (d *decoder) policyProblem(c *outbox.Configuration, err error) {
	var wrong *escalate.PolicyError
	if !errors.As(err, &wrong) {
		d.fail(position{}, "escalation", "%s", firstLine(err.Error()))
		return
	}
	path := fmt.Sprintf("escalation[%d].%s", wrong.Policy, wrong.Field)
	at := d.places[path]
	var syntax *escalate.SyntaxError
	if !errors.As(wrong.Err, &syntax) {
		d.fail(at, path, "%s", firstLine(wrong.Err.Error()))
		return
	}
	expression := c.Escalation[wrong.Policy].When
	if wrong.Field == "ignore_clock_if" {
		expression = c.Escalation[wrong.Policy].IgnoreClockIf
	}
	d.fail(d.within(at, expression, syntax.Line, syntax.Column), path, "not a condition in CEL: %s", firstLine(syntax.Message))
}

// checkHours looks at what an outlet says of its opening hours.
func (d *decoder) checkHours(path string, o outbox.OutletConfig) {
	if len(o.Holidays) > 0 && o.Open == "" {
		d.fail(d.places[path+".holidays"], path+".holidays", "means nothing without opening hours; expected open: beside it")
		return
	}
	if o.Open == "" {
		return
	}
	if _, zoneGiven := d.places[path+".timezone"]; o.Timezone == "" {
		if !zoneGiven { // a wrong one is said already
			d.fail(d.places[path+".open"], path+".open", "needs the outlet's time zone; expected timezone: beside it")
		}
		return
	}
	if _, err := escalate.ParseHours(o.Timezone, o.Open, nil); err != nil {
		d.fail(d.places[path+".open"], path+".open", "%s", err)
		return
	}
	if _, err := escalate.ParseHours(o.Timezone, o.Open, o.Holidays); err != nil {
		d.fail(d.places[path+".holidays"], path+".holidays", "%s", err)
	}
}
