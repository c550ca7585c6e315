package graph

import (
	"strings"
	"testing"
	"time"
)

type shownException struct {
	ID, Title, Status, Severity string
	Version, Reopened           int
	HeldCount                   int
	Assignee, Team              string
	AcknowledgedUntil           *time.Time
	Exposure                    []struct{ Amount, Currency, Units string }
	Turn                        struct {
		Team, Role string
		Until      *time.Time
	}
	Explanation struct{ What, Why, NextStep, Turn string }
	Cause       struct {
		Table, Value string
		Suggestions  []struct{ Value, Label string }
	}
	Held     struct{ Nodes []struct{ ID string } }
	Comments []struct{ Actor, Reason string }
	History  []struct{ Action, Actor, Reason string }
}

type exceptionPayload struct {
	Exception  *shownException
	Released   int
	UserErrors []struct{ Message, Code string }
}

// raise makes n open exceptions of SKUs, the first of which is the oldest: number i holds i
// deliveries worth i × 1000 IDR, but for the first, which is worth 2 USD.
func (h *house) raise(t *testing.T, n int) {
	t.Helper()
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, rule, field, code, looked_up, sample, held, opened_at)
		SELECT 'kopi', 'SKU_UNMAPPED', $1, 'look-up', 'sku', 'SKU-' || g, 'SKU-' || g, 'nothing', g, now() - interval '1 hour' + g * interval '1 second' FROM generate_series(1, $2) g`,
		h.destinations["books"], n)
	h.exec(t, `INSERT INTO exposures (exception, currency, tenant, amount, units, deliveries)
		SELECT id, CASE WHEN held = 1 THEN 'USD' ELSE 'IDR' END, 'kopi', CASE WHEN held = 1 THEN 2 ELSE held * 1000 END, held, held FROM exceptions`)
}

// The queries of an operator's screen, as they were sketched.
func TestQuery_QueueAndException(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books")
	h.raise(t, 5)
	h.exec(t, `INSERT INTO configuration (tenant, version, document, digest, actor, reason) SELECT 'kopi', coalesce(max(version), 0) + 1, '{"rates": {"USD": 16000}}', '', 'a', 'r' FROM configuration WHERE tenant = 'kopi'`)
	h.exec(t, `UPDATE exceptions SET severity = 'CRITICAL' WHERE code = 'SKU-3'`)
	h.exec(t, `INSERT INTO mapping_entries (tenant, name, destination, value, target, version) VALUES ('kopi', 'sku', 0, 'SKU-9', 'ITM-9', 1)`)
	queue := func(order, after string) (codes []string, end string) {
		var got struct {
			Exceptions struct {
				Nodes    []shownException
				PageInfo struct {
					EndCursor   string
					HasNextPage bool
				}
			}
		}
		variables := map[string]any{"f": map[string]any{"open": true}, "o": order}
		if after != "" {
			variables["after"] = after
		}
		h.get(t, "kopi", `query Queue($f: ExceptionFilter, $after: String, $o: ExceptionOrder!) {
			exceptions(filter: $f, orderBy: $o, first: 2, after: $after) {
				nodes { id title heldCount exposure { amount currency } turn { team until } } pageInfo { endCursor hasNextPage } } }`, variables, &got)
		for _, x := range got.Exceptions.Nodes {
			codes = append(codes, strings.TrimPrefix(x.Title, "No mapping for sku SKU-"))
		}
		if got.Exceptions.PageInfo.HasNextPage {
			end = got.Exceptions.PageInfo.EndCursor
		}
		return codes, end
	}
	for order, want := range map[string]string{"EXPOSURE_DESC": "1 5 4 3 2", "SEVERITY": "3 1 2 4 5", "AGE": "1 2 3 4 5", "NEWEST": "5 4 3 2 1"} {
		var all []string
		after := ""
		for {
			codes, end := queue(order, after)
			all = append(all, codes...)
			if after = end; after == "" {
				break
			}
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("by %s: %s, want %s", order, got, want)
		}
	}
	var got struct {
		Exceptions struct{ Nodes []shownException }
		Exception  shownException
	}
	h.get(t, "kopi", `{ exceptions(filter: {severity: CRITICAL, status: NEEDS_ACTION}) { nodes { id } } }`, nil, &got)
	if len(got.Exceptions.Nodes) != 1 {
		t.Fatalf("of one severity: %+v", got.Exceptions)
	}
	h.get(t, "kopi", `query Exception($id: ID!) { exception(id: $id) { version title(language: ID) explanation { what why nextStep turn } exposure { amount currency units }
		cause { table value suggestions { value label } } held(first: 20) { nodes { id } } history { at actor action reason } turn { role } severity } }`,
		map[string]any{"id": got.Exceptions.Nodes[0].ID}, &got)
	x := got.Exception
	if x.Version != 1 || !strings.Contains(x.Title, "SKU-3") || !strings.Contains(x.Explanation.NextStep, "Add the entry") || x.Turn.Role != "CATALOGUE" ||
		x.Exposure[0].Amount != "3000" || x.Exposure[0].Currency != "IDR" || x.Exposure[0].Units != "3" || x.Cause.Table != "sku" || x.Cause.Value != "SKU-3" {
		t.Errorf("the exception is %+v", x)
	}
	if s := x.Cause.Suggestions; len(s) != 1 || s[0].Value != "ITM-9" {
		t.Errorf("suggestions %+v", s)
	}
}

func TestMutation_StepsOfExceptions(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books")
	h.raise(t, 2)
	h.exec(t, `UPDATE exceptions SET held = 0 WHERE code = 'SKU-1'`)
	var list struct {
		Exceptions struct{ Nodes []shownException }
	}
	h.get(t, "kopi", `{ exceptions(orderBy: AGE) { nodes { id version } } }`, nil, &list)
	empty, full := list.Exceptions.Nodes[0].ID, list.Exceptions.Nodes[1].ID
	do := func(tenant, what, input string, in map[string]any) exceptionPayload {
		t.Helper()
		var p struct{ Done exceptionPayload }
		released := "released "
		if input == "AcknowledgeExceptionInput" {
			released = ""
		}
		h.get(t, tenant, `mutation ($in: `+input+`!) { done: `+what+`(input: $in) { `+released+`exception { id status version assignee team reopened acknowledgedUntil
			turn { team until } comments { actor reason } history { action actor reason } } userErrors { message code } } }`, map[string]any{"in": in}, &p)
		return p.Done
	}
	step := func(request, id string, more ...any) map[string]any {
		in := map[string]any{"requestId": request, "id": id, "reason": "because " + request}
		for i := 0; i < len(more); i += 2 {
			in[more[i].(string)] = more[i+1]
		}
		return in
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	if p := do("kopi", "acknowledgeException", "AcknowledgeExceptionInput", step("a", full, "until", until, "expectedVersion", 1)); len(p.UserErrors) > 0 ||
		p.Exception.Status != "ACKNOWLEDGED" || !p.Exception.Turn.Until.Equal(until) {
		t.Errorf("acknowledged: %+v", p)
	}
	if p := do("kopi", "startException", "AssignExceptionInput", step("s", full, "expectedVersion", 1)); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "CONFLICT" ||
		!strings.Contains(p.UserErrors[0].Message, "ACKNOWLEDGED") || !strings.Contains(p.UserErrors[0].Message, "acknowledge by op-kopi: because a") || p.Exception == nil {
		t.Errorf("with an old version: %+v", p)
	}
	if p := do("kopi", "assignException", "AssignExceptionInput", step("t", full, "team", "catalogue")); p.Exception.Team != "catalogue" || p.Exception.Turn.Team != "catalogue" {
		t.Errorf("assigned: %+v", p)
	}
	p := do("kopi", "startException", "AssignExceptionInput", step("s", full, "expectedVersion", 3))
	if p.Exception.Status != "IN_PROGRESS" || p.Exception.Assignee != "op-kopi" {
		t.Errorf("started: %+v", p)
	}
	if again := do("kopi", "startException", "AssignExceptionInput", step("s", full, "expectedVersion", 3)); len(again.UserErrors) > 0 || again.Exception.Version != p.Exception.Version {
		t.Errorf("the same request again: %+v", again)
	}
	if p := do("kopi", "commentOnException", "ExceptionStepInput", step("c", full, "expectedVersion", 1)); len(p.Exception.Comments) != 1 || p.Exception.Comments[0].Reason != "because c" {
		t.Errorf("commented: %+v", p)
	}
	if p := do("kopi", "resolveException", "ExceptionStepInput", step("r", full)); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "REFUSED" || !strings.Contains(p.UserErrors[0].Message, "2 in all") {
		t.Errorf("resolved while it holds something: %+v", p)
	}
	if p := do("kopi", "dismissException", "ExceptionStepInput", step("d", full)); p.Exception.Status != "DISMISSED" || p.Released != 2 {
		t.Errorf("dismissed: %+v", p)
	}
	if p := do("kopi", "resolveException", "ExceptionStepInput", step("r", empty)); p.Exception.Status != "RESOLVED" || p.Released != 0 {
		t.Errorf("resolved: %+v", p)
	}
	if p := do("kopi", "resolveException", "ExceptionStepInput", step("r2", empty)); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "CONFLICT" || !strings.Contains(p.UserErrors[0].Message, "by op-kopi") {
		t.Errorf("resolved twice: %+v", p)
	}
	p = do("kopi", "reopenException", "ExceptionStepInput", step("o", empty))
	if p.Exception.Status != "NEEDS_ACTION" || p.Exception.Reopened != 1 {
		t.Errorf("reopened: %+v", p)
	}
	var told []string
	for _, a := range p.Exception.History {
		told = append(told, a.Action+" "+a.Actor)
	}
	if got := strings.Join(told, ", "); got != "RESOLVED op-kopi, REOPEN op-kopi" {
		t.Errorf("its history is %s", got)
	}
	for name, c := range map[string]struct {
		tenant, what, code string
		in                 map[string]any
	}{
		"NoReason":       {"kopi", "dismissException", "INVALID", step("x1", empty, "reason", " ")},
		"RequestIDTwice": {"kopi", "dismissException", "INVALID", step("o", empty)},
		"NotAnID":        {"kopi", "dismissException", "INVALID", step("x2", "exc_x")},
		"Negative":       {"kopi", "dismissException", "INVALID", step("x3", empty, "expectedVersion", -1)},
		"AnotherTenants": {"teh", "dismissException", "NOT_FOUND", step("x4", empty)},
		"NothingToRetry": {"kopi", "retryException", "REFUSED", step("x5", empty)},
	} {
		if p := do(c.tenant, c.what, "ExceptionStepInput", c.in); len(p.UserErrors) != 1 || p.UserErrors[0].Code != c.code || c.tenant == "teh" && p.Exception != nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
