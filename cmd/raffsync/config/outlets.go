package config

import (
	_ "embed"
	"strings"
	"time"
	_ "time/tzdata" // for machines that have none

	"raffsync/outbox"
)

// zones are names of the IANA's time zone database, of 2025b, to choose from. Others that
// it has are taken too.
//
//go:embed zones.txt
var zones string

func outletFields(c *outbox.OutletConfig) []field {
	const takes = "a time zone by its name, as Asia/Jakarta"
	return []field{
		{
			name: "timezone", takes: takes, fallback: "not known", doc: "Of the outlet's clocks, by the names of the IANA. Dates are made in it.",
			decode: func(d *decoder, v value) {
				text, ok := d.text(v, takes, 64)
				if !ok {
					return
				}
				if !isZone(text) {
					d.fail(v.at(), v.path, "there is no time zone %q%s expected %s", short(text), didYouMeanZone(text), takes)
					return
				}
				c.Timezone = text
			},
		},
		text("open", &c.Open, 1024, takesHours, "always", "Opening hours, for policies whose time counts in them. Times after midnight belong to the day before: \"Fri 18:00-02:00\"."),
		list("holidays", &c.Holidays, "a day, as 2026-12-25", "none", "Days on which it is closed."),
		optional(name("team", &c.Team, "the name of a team", "Whom a level of a policy tells that names no team."), "none"),
	}
}

func isZone(text string) bool {
	_, err := time.LoadLocation(text)
	return err == nil && text != "" && text != "Local"
}

func didYouMeanZone(text string) string {
	lower := strings.Fields(strings.ToLower(zones))
	best := meant(text, lower)
	for _, zone := range strings.Fields(zones) {
		if best != "" && strings.EqualFold(zone, best) {
			return didYouMean(zone, []string{zone})
		}
	}
	return ";"
}
