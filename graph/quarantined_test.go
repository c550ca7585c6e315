package graph

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What was quarantined shows under its exception, as it came, to its tenant only.
func TestException_ShowsWhatIsQuarantined(t *testing.T) {
	h := openHouse(t, nil)
	h.exec(t, `INSERT INTO exceptions (tenant, class, source, code, sample, held) SELECT 'kopi', 'QUARANTINED', id, 'BODY_NOT_JSON', 'the body is no JSON', 3 FROM sources WHERE tenant = 'kopi' LIMIT 1`)
	h.exec(t, `INSERT INTO quarantined (tenant, source, id, exception, code, reason, content_type, headers, query, body_bytes, body_sha256, body, asked_by, asked_why)
		SELECT 'kopi', x.source, 'q' || g, x.id, x.code, x.sample, 'text/html', '{"x-topic": "orders/create"}', 'a=1', 6, '\xab', CASE g WHEN 1 THEN '<html>'::bytea ELSE '\xff' END, CASE g WHEN 3 THEN 'ayu' END, CASE g WHEN 3 THEN 'r' END
		  FROM exceptions x, generate_series(1, 3) g WHERE class = 'QUARANTINED'`)
	const ask = `query($after: String) { exceptions(filter: {class: "QUARANTINED"}, first: 5) { nodes { heldCount code
		quarantined(first: 2, after: $after) { nodes { id source reason contentType headers { name value } query bodyBytes bodySha256 body { text base64 } asked } pageInfo { hasNextPage endCursor } } } } }`
	type told struct {
		Exceptions struct {
			Nodes []struct {
				HeldCount   any
				Quarantined struct {
					Nodes []struct {
						ID, ContentType, Query, BodySha256 string
						Headers                            []struct{ Name, Value string }
						Body                               struct{ Text, Base64 *string }
						Asked                              bool
					}
					PageInfo struct {
						HasNextPage bool
						EndCursor   string
					}
				}
			}
		}
	}
	var got told
	h.get(t, "kopi", ask, nil, &got)
	if len(got.Exceptions.Nodes) != 1 {
		t.Fatalf("%+v", got)
	}
	q := got.Exceptions.Nodes[0].Quarantined
	first := q.Nodes[0]
	if len(q.Nodes) != 2 || !q.PageInfo.HasNextPage || first.ID != "q1" || first.BodySha256 != "ab" || *first.Body.Text != "<html>" || first.Asked || first.Query != "a=1" {
		t.Errorf("%+v", q)
	}
	if diff := cmp.Diff([]struct{ Name, Value string }{{"x-topic", "orders/create"}}, first.Headers); diff != "" {
		t.Error(diff)
	}
	if b := q.Nodes[1].Body; b.Base64 == nil || *b.Base64 != "/w==" {
		t.Errorf("%+v", b)
	}
	h.get(t, "kopi", ask, map[string]any{"after": q.PageInfo.EndCursor}, &got)
	if q := got.Exceptions.Nodes[0].Quarantined; len(q.Nodes) != 1 || q.Nodes[0].ID != "q3" || !q.Nodes[0].Asked || q.PageInfo.HasNextPage {
		t.Errorf("the second page: %+v", q)
	}
	var other told
	h.get(t, "teh", ask, nil, &other)
	if len(other.Exceptions.Nodes) != 0 {
		t.Errorf("another tenant sees %+v", other)
	}
}

// Webhooks that were quarantined are evaluated again, or put aside, as any exception is
// retried or dismissed: by whom and why, once for each request, as it was seen.
func TestMutation_RetriesAndDismissesWhatIsQuarantined(t *testing.T) {
	h := openHouse(t, nil)
	h.exec(t, `INSERT INTO exceptions (tenant, class, source, code, sample, held) SELECT 'kopi', 'QUARANTINED', id, 'BODY_NOT_JSON', 'the body is no JSON', 2 FROM sources WHERE tenant = 'kopi' LIMIT 1`)
	h.exec(t, `INSERT INTO quarantined (tenant, source, id, exception, code, reason, content_type, query, body_bytes, body_sha256, body)
		SELECT 'kopi', x.source, 'q' || g, x.id, x.code, x.sample, 'text/html', '', 6, '', '' FROM exceptions x, generate_series(1, 2) g WHERE class = 'QUARANTINED'`)
	var list struct {
		Exceptions struct {
			Nodes []struct {
				ID      string
				Version int
			}
		}
	}
	h.get(t, "kopi", `{ exceptions(filter: {class: "QUARANTINED"}) { nodes { id version } } }`, nil, &list)
	x := list.Exceptions.Nodes[0]
	type payload struct {
		Exception *struct {
			Status      string
			Version     int
			Quarantined struct{ Nodes []struct{ Asked bool } }
			History     []struct{ Action, Actor, Reason string }
		}
		UserErrors []struct{ Code string }
	}
	do := func(tenant, what, request string, version int) payload {
		t.Helper()
		var p struct{ Done payload }
		h.get(t, tenant, `mutation ($in: ExceptionStepInput!) { done: `+what+`(input: $in) { exception { status version quarantined(first: 5) { nodes { asked } } history { action actor reason } } userErrors { code } } }`,
			map[string]any{"in": map[string]any{"requestId": request, "id": x.ID, "expectedVersion": version, "reason": "because " + request}}, &p)
		return p.Done
	}
	asked := func(p payload) (n int) {
		for _, q := range p.Exception.Quarantined.Nodes {
			if q.Asked {
				n++
			}
		}
		return n
	}
	var p payload
	for range 2 { // a repeat changes nothing
		p = do("kopi", "retryException", "r1", x.Version)
		if len(p.UserErrors) != 0 || asked(p) != 2 || p.Exception.Status != "NEEDS_ACTION" || p.Exception.Version != x.Version+1 {
			t.Fatalf("retried: %+v", p)
		}
	}
	if p := do("kopi", "dismissException", "r2", x.Version); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "CONFLICT" {
		t.Errorf("of an outdated version: %+v", p)
	}
	if p := do("teh", "dismissException", "r3", x.Version+1); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "NOT_FOUND" {
		t.Errorf("another tenant's: %+v", p)
	}
	p = do("kopi", "dismissException", "r4", x.Version+1)
	if len(p.UserErrors) != 0 || asked(p) != 0 || p.Exception.Status != "DISMISSED" || len(p.Exception.Quarantined.Nodes) != 2 {
		t.Fatalf("dismissed: %+v", p)
	}
	if l := p.Exception.History; len(l) != 2 || l[1].Action != "DISMISSED" || l[1].Actor != "op-kopi" || l[1].Reason != "because r4" {
		t.Errorf("its history: %+v", l)
	}
	p = do("kopi", "reopenException", "r5", p.Exception.Version)
	if p = do("kopi", "retryException", "r6", p.Exception.Version); len(p.UserErrors) != 0 || asked(p) != 2 {
		t.Errorf("reopened and retried: %+v", p)
	}
}
