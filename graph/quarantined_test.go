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
