package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A destination with open deliveries is removed with a word only, after a look at what
// that means.
func TestProgram_RemovesADestination(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	r.misbehave = func(w http.ResponseWriter, _ *http.Request, _ int) (handled, effect bool) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true, false
	}
	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
routes:
  all: {from: till, to: books, retry: {initial: 1h, cap: 1h}}
`, r.server.URL, "file:"+in.write("books.secret", receiverSecret)))
	without := in.write("without.yaml", "tenant: kopi\nsources: {till: {}}\n")
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	event := in.write("event.jsonl", `{"id":"1042","type":"order.created","orderingKey":"order/1042","textData":"{}"}`+"\n")
	in.run("publish", event, "--to", in.grpc, "--key-file", key)
	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries WHERE state = 1`) == 1 }, p.log.String)

	for _, test := range []struct {
		arguments []string
		code      int
		says      []string
	}{
		{[]string{"apply", without}, 1, []string{"books (1)", "--drain books", "--skip books"}},
		{[]string{"apply", without, "--dry-run"}, 1, []string{"destination books: removed", "destination books: 1 open", "--drain or --skip"}},
		{[]string{"apply", without, "--dry-run", "--drain", "books"}, 0, []string{"they are delivered, then it goes", "nothing is stored"}},
		{[]string{"apply", without, "--skip", "books"}, 1, []string{"--reason"}},
		{[]string{"apply", without, "--skip", "books", "--reason", "closed for good"}, 0, []string{"1 deliveries to books are skipped"}},
	} {
		stdout, stderr, code := in.try(test.arguments...)
		for _, text := range test.says {
			if code != test.code || !strings.Contains(stdout+stderr, text) {
				t.Fatalf("%v: status %d, without %q:\n%s%s", test.arguments, code, text, stdout, stderr)
			}
		}
	}
	waitUntil(t, func() bool {
		return query[int](t, db, `SELECT count(*) FROM destinations WHERE name = 'books' AND removed_at IS NOT NULL`) == 1
	}, p.log.String)
	if story := in.run("story", "1042"); !strings.Contains(story, "closed for good") {
		t.Errorf("the story does not say why:\n%s", story)
	}
}
