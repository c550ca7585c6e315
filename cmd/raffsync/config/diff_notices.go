package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"raffsync/outbox"
)

// numbered is a policy by its place, from 1: it has no other name.
type numbered struct {
	outbox.EscalationConfig
	place int
}

// compareNotices is what differs of who is told, and how.
func compareNotices(before, after outbox.Configuration) []Change {
	all := compare("team", before.Teams, after.Teams, func(c outbox.TeamConfig) string { return c.Name }, teamProperties)
	all = append(all, compare("policy", places(before.Escalation), places(after.Escalation),
		func(c numbered) string { return strconv.Itoa(c.place) }, policyProperties)...)
	one := func(kind string, before, after []property) {
		for _, c := range differences(before, after) {
			c.Action, c.Kind = changed, kind
			all = append(all, c)
		}
	}
	one("mail", mailProperties(before.Mail), mailProperties(after.Mail))
	one("links", []property{plain("public_url", orNone(before.PublicURL))}, []property{plain("public_url", orNone(after.PublicURL))})
	return all
}

func places(policies []outbox.EscalationConfig) (all []numbered) {
	for i, p := range policies {
		all = append(all, numbered{p, i + 1})
	}
	return all
}

func teamProperties(c outbox.TeamConfig) []property {
	all := []property{plain("language", c.Language), {"template", c.Template, "…"}}
	for i, a := range c.Notify {
		path := element("notify", i)
		all = append(all, property{path, a.Kind + " " + string(a.Settings), a.Destination()})
		var settings any
		if a.Kind == "webhook" && json.Unmarshal(a.Settings, &settings) == nil {
			all = append(all, flatten(join(path, a.Kind), settings)...)
		}
	}
	return all
}

func policyProperties(c numbered) []property {
	var levels []string
	for _, l := range c.Levels {
		text := orWord(l.Team, "the outlet's team")
		if l.After > 0 {
			text += " after " + formatDuration(l.After)
		}
		if l.Repeat > 0 {
			text += " every " + formatDuration(l.Repeat)
		}
		levels = append(levels, text)
	}
	return []property{
		plain("when", orWord(c.When, "every exception")), plain("clock", string(c.Clock)), plain("quiet", orNone(c.Quiet)),
		plain("quiet_timezone", orWord(c.QuietTimezone, "UTC")), plain("ignore_clock_if", orWord(c.IgnoreClockIf, "never")),
		plain("acknowledge_for", formatDuration(cmp.Or(c.AcknowledgeFor, outbox.DefaultAcknowledgeFor))), plain("link_valid", formatDuration(cmp.Or(c.LinkValid, outbox.DefaultLinkValid))),
		{"levels", fmt.Sprint(c.Levels), strings.Join(levels, ", then ")},
	}
}

func mailProperties(c outbox.MailConfig) []property {
	return []property{
		plain("server", orNone(c.Server)), plain("from", orNone(c.From)), plain("username", orNone(c.Username)),
		{"password", c.Password, visible(c.Password)},
	}
}
