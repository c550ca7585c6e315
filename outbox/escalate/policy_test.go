package escalate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"raffsync/outbox"
)

func TestCondition(t *testing.T) {
	t.Parallel()
	f := Facts{
		Class: "SKU_UNMAPPED", Destination: "books", Outlet: "mall", Source: "till", Severity: "HIGH",
		Exposure: map[string]float64{"IDR": 5_000_001}, Held: 6, Age: 90 * time.Minute,
	}
	for expression, want := range map[string]bool{
		`class in ["SKU_UNMAPPED", "MODIFIER_UNMAPPED"]`: true,
		`class == "LATE"`:                                            false,
		`exposure.IDR > 5000000`:                                     true,
		`exposure.IDR > 5000001.5`:                                   false,
		`exposure.USD > 0`:                                           false, // nothing is at stake in dollars
		`exposure.USD > 0 || severity == "HIGH"`:                     true,
		`held >= 6 && age > duration("1h")`:                          true,
		`destination.startsWith("bo") && outlet == "mall"`:           true,
		`source == "shop"`:                                           false,
		`"abc".matches("(a+)+$") || true`:                            true,
		`[1,2,3].all(i, [1,2,3].all(j, [1,2,3].all(k, i+j+k > 0)))`:  true,
		`class.matches("` + strings.Repeat("(a*)*", 20) + `b")`:      false,
		`severity in ["CRITICAL"] || (exposure.size() == 1 && true)`: true,
	} {
		c, err := CompileCondition(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got := c.Holds(f); got != want {
			t.Errorf("%s: %t", expression, got)
		}
	}
	empty, err := CompileCondition(`class == "" && exposure.size() == 0`)
	if err != nil || !empty.Holds(Facts{}) {
		t.Errorf("nothing is known: %v", err)
	}
	for expression, where := range map[string][2]int{
		`clas == "LATE"`:          {1, 1},
		"class == \"LATE\" &&\nx": {2, 1},
		`held`:                    {1, 1},
		`class == 5`:              {1, 7},
		``:                        {1, 1},
		strings.Repeat("true || ", 1000) + "true": {1, 1},
	} {
		_, err := CompileCondition(expression)
		var wrong *SyntaxError
		if !errors.As(err, &wrong) || [2]int{wrong.Line, wrong.Column} != where || wrong.Message == "" {
			t.Errorf("%.40s: %v, want an error at %v", expression, err, where)
		}
	}
}

func TestPolicies_For(t *testing.T) {
	t.Parallel()
	p, err := CompilePolicies(&outbox.Configuration{
		Outlets: []outbox.OutletConfig{{Name: "mall", Timezone: jakarta, Open: "Mon-Sun 09:00-22:00", Team: "jakarta"}, {Name: "online"}},
		Escalation: []outbox.EscalationConfig{
			{When: `class == "LATE"`, Clock: outbox.ClockOutletHours, Quiet: "Mon-Sun 22:00-07:00", QuietTimezone: london, Levels: []outbox.LevelConfig{{Team: "catalogue"}, {After: time.Hour}}},
			{When: `class == "VALIDATION"`, Clock: outbox.ClockAlways, Levels: []outbox.LevelConfig{{Team: "finance", Repeat: time.Hour}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	zone := func(h *Hours) string {
		if h == nil {
			return "none"
		}
		return h.zone.String()
	}
	for name, c := range map[string]struct {
		facts        Facts
		place        int
		hours, quiet string
		teams        string
	}{
		"OfAnOutlet":       {Facts{Class: "LATE", Outlet: "mall"}, 0, jakarta, jakarta, "catalogue jakarta"},
		"OutletWithoutAny": {Facts{Class: "LATE", Outlet: "online"}, 0, "none", london, "catalogue"},
		"OfNoOutlet":       {Facts{Class: "LATE"}, 0, "none", london, "catalogue"},
		"AnotherPolicy":    {Facts{Class: "VALIDATION", Outlet: "mall"}, 1, "none", "none", "finance"},
		"None":             {Facts{Class: "CONFLICT"}, -1, "none", "none", ""},
		"OfANotice":        {Facts{Class: "LATE", Destination: "mailto:a@example.com"}, -1, "none", "none", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, place := p.For(c.facts)
			var teams []string
			for _, l := range got.Levels {
				teams = append(teams, l.Team)
			}
			if place != c.place || zone(got.Hours) != c.hours || zone(got.Quiet) != c.quiet || strings.Join(teams, " ") != c.teams {
				t.Errorf("policy %d, hours %s, quiet %s, teams %v", place, zone(got.Hours), zone(got.Quiet), teams)
			}
		})
	}
}
