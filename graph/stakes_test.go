package graph

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What blocks more keys stands first among what has the same money at stake, then what holds
// the older; whose turn it is goes by a person's word, then the policy's, then the place.
func TestQuery_StakesAndTurns(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books")
	h.exec(t, `INSERT INTO configuration (tenant, version, document, digest, actor, reason)
		SELECT 'kopi', coalesce(max(version), 0) + 1, '{"outlets": [{"name": "mall", "team": "jakarta"}, {"name": "kiosk"}]}', '', 'a', 'r' FROM configuration WHERE tenant = 'kopi'`)
	// By code: keys blocked, age of the oldest in hours, the team that it was given to, levels told, outlets.
	for i, x := range []struct {
		code            string
		blocked, age    int
		team            *string
		level           int
		policy, outlets string
	}{
		{"GIVEN", 1, 1, new("catalogue"), 1, "finance owner", "mall"},
		{"RAISED", 1, 3, nil, 0, "finance owner", "mall"},
		{"TOLD", 2, 1, nil, 2, "finance owner", "mall"},
		{"PLACE", 1, 2, nil, 0, "", "kiosk mall mall"},
		{"NOBODY", 0, 9, nil, 0, "", "kiosk"},
	} {
		h.exec(t, `INSERT INTO exceptions (tenant, class, destination, code, sample, held, blocked, oldest_at, team) VALUES ('kopi', 'VALIDATION', $1, $2, 's', 3, $3, now() - $4 * interval '1 hour', $5)`,
			h.destinations["books"], x.code, x.blocked, x.age, x.team)
		var levels []string
		for _, team := range strings.Fields(x.policy) {
			levels = append(levels, fmt.Sprintf(`{"team": %q}`, team))
		}
		h.exec(t, `UPDATE escalations SET level = $2, policy = $3::text::jsonb WHERE exception = (SELECT id FROM exceptions WHERE code = $1)`, x.code, x.level, `{"levels": [`+strings.Join(levels, ", ")+`]}`)
		for _, outlet := range strings.Fields(x.outlets) {
			h.exec(t, `INSERT INTO held_outlets (exception, outlet, tenant, held) SELECT id, $2, 'kopi', 1 FROM exceptions WHERE code = $1
				ON CONFLICT (exception, outlet) DO UPDATE SET held = held_outlets.held + 1`, x.code, outlet)
		}
		if i == 0 {
			h.exec(t, `INSERT INTO exceptions (tenant, class, destination, sample, holds_destination) VALUES ('kopi', 'AUTH_REVOKED', $1, 's', true)`, h.destinations["books"])
		}
	}
	list := func(filter string) (all []string) {
		t.Helper()
		after := ""
		for {
			var got struct {
				Exceptions struct {
					Nodes []struct {
						Code         string
						KeysBlocked  *int
						OldestHeldAt *time.Time
						OldestAge    *float64
						Turn         struct{ Team string }
					}
					PageInfo struct {
						EndCursor   string
						HasNextPage bool
					}
				}
			}
			h.get(t, "kopi", `query ($after: String) { exceptions(filter: {open: true`+filter+`}, orderBy: EXPOSURE_DESC, first: 2, after: $after) {
				nodes { code keysBlocked oldestHeldAt oldestAge turn { team } } pageInfo { endCursor hasNextPage } } }`, map[string]any{"after": optional(after)}, &got)
			for _, x := range got.Exceptions.Nodes {
				if (x.OldestHeldAt == nil) != (x.OldestAge == nil) || x.OldestAge != nil && (*x.OldestAge < 0 || time.Since(*x.OldestHeldAt).Seconds() < *x.OldestAge) {
					t.Errorf("%s: since %v, %v s ago", x.Code, x.OldestHeldAt, x.OldestAge)
				}
				blocks := "all"
				if x.KeysBlocked != nil {
					blocks = fmt.Sprint(*x.KeysBlocked)
				}
				all = append(all, strings.TrimSpace(fmt.Sprintf("%s:%s:%s", x.Code, blocks, x.Turn.Team)))
			}
			if after = got.Exceptions.PageInfo.EndCursor; !got.Exceptions.PageInfo.HasNextPage {
				return all
			}
		}
	}
	for filter, want := range map[string]string{
		"":                      "TOLD:2:owner RAISED:1:finance PLACE:1:jakarta GIVEN:1:catalogue NOBODY:0: :all:",
		`, outlet: "mall"`:      "TOLD:2:owner RAISED:1:finance PLACE:1:jakarta GIVEN:1:catalogue",
		`, outlet: "kiosk"`:     "PLACE:1:jakarta NOBODY:0:",
		`, outlet: "elsewhere"`: "",
		`, team: "jakarta"`:     "PLACE:1:jakarta",
		`, team: "catalogue"`:   "GIVEN:1:catalogue",
		`, team: "finance"`:     "RAISED:1:finance",
	} {
		if got := strings.Join(list(filter), " "); got != want {
			t.Errorf("{open: true%s}: %s\nwant %s", filter, got, want)
		}
	}
	if a := h.ask(t, "kopi", `{ exceptions(orderBy: EXPOSURE_DESC, first: 2, after: "AAAA") { nodes { id } } }`, nil); a.code() != codeBadInput {
		t.Errorf("a cursor that is none: %+v", a)
	}
}

// A reader that asks for topics hears of these alone; others hear of everything.
func TestChanges_Topics(t *testing.T) {
	h := openHouse(t, nil)
	const query = `subscription { changes(topics: [EXCEPTIONS]) { cursor change lagged entries { id what } totals { accepted } } }`
	reader := watchQuery(t, h, "kopi", query, nil)
	first, ok := reader.next()
	if !ok || first.Totals != nil || len(first.Entries) != 0 || strings.Join(first.Change, " ") != "EXCEPTIONS" {
		t.Fatalf("the first batch is %+v", first)
	}
	all := watchSSE(t, h, "kopi", "")
	all.read()
	all.until(h.publish(t, "kopi", 2, "books")...) // of no interest to the other
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, sample) VALUES ('kopi', 'VALIDATION', $1, 's')`, h.destinations["books"])
	h.exec(t, `INSERT INTO timeline (tenant, exception, what, reason) SELECT tenant, id, 'exception', sample FROM exceptions`)
	next, ok := reader.next()
	if !ok || next.Totals != nil || len(next.Entries) != 1 || next.Entries[0].What != "EXCEPTION" || strings.Join(next.Change, " ") != "EXCEPTIONS" {
		t.Errorf("then comes %+v", next)
	}
}
