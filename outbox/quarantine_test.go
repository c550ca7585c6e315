package outbox_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"raffsync/outbox"
)

// quarantined is a webhook of which no event can be made.
func (s *shop) quarantined(id, code string) outbox.Entry {
	body := []byte("<html>" + id)
	sum := sha256.Sum256(body)
	return outbox.Entry{
		Event: outbox.Event{Tenant: "kopi", Source: s.source, ID: id, Type: "raffsync.quarantined", OrderingKey: "quarantine/" + id, ContentType: "application/octet-stream", Payload: body},
		Quarantine: &outbox.Quarantine{
			Code: code, Reason: "the body is no JSON", ContentType: "text/html", Headers: map[string]string{"x-topic": "orders/create"},
			Query: "shop=mall", BodyBytes: int64(len(body)), BodySHA256: sum[:],
		},
	}
}

// However many there are, each is kept once, and they make one exception for each source
// and code; events of the same batch go their way.
func TestWriter_Quarantine(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	w := s.writer()
	var batch []outbox.Entry
	for i := range 40 {
		batch = append(batch, s.quarantined(fmt.Sprintf("q%02d", i), "BODY_NOT_JSON"))
	}
	batch = append(batch, s.quarantined("q00", "BODY_NOT_JSON"), s.quarantined("other", "EVENT_ID"), s.entry("e1", "order/1", "books"))
	results := s.append(w, batch...)
	for i, want := range map[int]outbox.Verdict{0: outbox.Quarantined, 39: outbox.Quarantined, 40: outbox.Duplicate, 41: outbox.Quarantined, 42: outbox.Appended} {
		if results[i] != want {
			t.Errorf("entry %d is %d, want %d", i, results[i], want)
		}
	}
	for _, r := range s.append(w, batch...) {
		if r != outbox.Duplicate {
			t.Errorf("what is sent again is %d, want a duplicate", r)
		}
	}
	for what, sql := range map[string]string{
		"kept":                       `SELECT count(*) = 41 FROM quarantined q JOIN exceptions x ON x.id = q.exception AND x.class = 'QUARANTINED' AND x.code = q.code`,
		"one exception a code":       `SELECT array_agg(held || ' ' || code ORDER BY code) = '{40 BODY_NOT_JSON,1 EVENT_ID}' FROM exceptions WHERE version = 1`,
		"in the timeline, each once": `SELECT count(*) = 2 FROM timeline WHERE what = 'exception' AND reason = 'the body is no JSON'`,
		"as it came":                 `SELECT body = '<html>q07' AND body_sha256 = sha256(body) AND headers ->> 'x-topic' = 'orders/create' AND query = 'shop=mall' FROM quarantined WHERE id = 'q07'`,
		"no event":                   `SELECT count(*) = 1 FROM events`,
		"no delivery":                `SELECT count(*) = 1 FROM deliveries`,
	} {
		if !one[bool](s, sql) {
			t.Errorf("not %s", what)
		}
	}
}

// What Postgres cannot hold, and an exception that somebody holds, cost no stranger.
func TestWriter_QuarantineDelaysNoStranger(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	w := s.writer()
	s.append(w, s.quarantined("q1", "BODY_NOT_JSON"))
	tx, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM exceptions FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	bad := s.quarantined("q\x00", "EVENT_ID")
	results := s.append(w, s.quarantined("q2", "BODY_NOT_JSON"), bad, s.quarantined("q3", "EVENT_ID"), s.entry("e1", "order/1", "books"))
	if want := []outbox.Verdict{outbox.Deferred, outbox.Refused, outbox.Quarantined, outbox.Appended}; !slices.Equal(results, want) {
		t.Errorf("verdicts %v, want %v", results, want)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := s.append(w, s.quarantined("q2", "BODY_NOT_JSON")); r[0] != outbox.Quarantined {
		t.Errorf("sent again it is %d", r[0])
	}
}
