package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A destination that is added today gets what was there before, in the order of keys,
// over a crash, each once; and again, by another key, when it is asked for again.
func TestProgram_ReplaysToANewDestination(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	in := newInstallation(t)
	secret := "file:" + in.write("books.secret", receiverSecret)
	before := in.write("before.yaml", "tenant: kopi\nsources: {till: {}}\n")
	after := in.write("after.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
routes:
  orders: {from: till, to: books, types: ["order.*"]}
`, r.server.URL, secret))
	p := in.start("serve", "--development", "--config", before)
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	var lines strings.Builder
	const events = 60
	for i := range events {
		fmt.Fprintf(&lines, `{"id":"e%02d","type":"order.created","orderingKey":"order/%d","textData":"{}"}`+"\n", i, i%3)
	}
	lines.WriteString(`{"id":"s1","type":"stock.moved","orderingKey":"stock/1","textData":"{}"}` + "\n")
	in.run("publish", in.write("events.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	in.run("apply", after, "--development")
	db := in.database()

	dry := in.run("replay", "--to", "books", "--from-time", "1d", "--unrouted", "--dry-run")
	if !strings.Contains(dry, "60 deliveries, which take 3s") || !strings.Contains(dry, "1 more events match") || !strings.Contains(dry, "nothing is started") {
		t.Errorf("the dry run says:\n%s", dry)
	}
	if n := query[int](t, db, `SELECT count(*) FROM replays`); n != 0 {
		t.Errorf("it started %d replays", n)
	}
	in.run("replay", "--to", "books", "--from-time", "1d", "--unrouted", "--reason", "books is new")
	waitUntil(t, func() bool { return query[int](t, db, `SELECT made FROM replays`) > 5 }, p.log.String)
	_ = p.cmd.Process.Kill()
	<-p.done
	p = in.start("serve", "--development")
	p.until(`"msg":"ready"`)
	db = in.database()
	done := func(n int) {
		t.Helper()
		sql := `SELECT count(*) FROM replays WHERE state = 'DONE' AND made = 60 AND unwanted = 1`
		waitUntil(t, func() bool {
			return query[int](t, db, sql) == n && query[int](t, db, `SELECT count(*) FROM deliveries`) == 0
		}, func() string {
			return query[string](t, db, `SELECT coalesce(jsonb_agg(r), '[]')::text FROM replays r`) + "\n" +
				query[string](t, db, `SELECT coalesce(jsonb_agg(d), '[]')::text FROM deliveries d`) + "\n" + p.log.String()
		})
	}
	done(1)
	r.mu.Lock()
	for id, n := range r.events {
		if n != 1 {
			t.Errorf("event %s took effect %d times", id, n)
		}
	}
	if len(r.events) != events {
		t.Errorf("%d events took effect, want %d", len(r.events), events)
	}
	for key, order := range r.order {
		if !slices.IsSorted(order) {
			t.Errorf("key %s in the order %v", key, order)
		}
	}
	r.mu.Unlock()
	in.run("replay", "--to", "books", "--from-time", "1d", "--rate", "1000/s")
	done(2)
	if n := r.effectsOf("e00"); n != 2 {
		t.Errorf("asked for again, an event took effect %d times in all", n)
	}
	var list []struct{ Number, Made int }
	if err := json.Unmarshal([]byte(in.run("replay", "list", "--json")), &list); err != nil || len(list) != 2 || list[0].Number < list[1].Number {
		t.Errorf("the list: %+v, %v", list, err)
	}
}

func TestParseMoment(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"30d":                       now.Add(-30 * 24 * time.Hour),
		"90m":                       now.Add(-90 * time.Minute),
		"2026-11-01":                time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		"2026-11-01T10:00:00+07:00": time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC),
	} {
		if got, err := parseMoment("--until", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"yesterday", "-2h", "1e9d", "2026-13-01"} {
		if _, err := parseMoment("--until", text, now); err == nil || !strings.Contains(err.Error(), "--until") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
