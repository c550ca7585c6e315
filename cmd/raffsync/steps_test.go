package main

import (
	"fmt"
	"strings"
	"testing"
)

// Snapshots of one order come from two sources by keys of their own, and from a person who
// publishes the file again under other ids. The receiver gets one request, and the story
// says why the others were none.
func TestProgram_MakesOneEffectOfManyEvents(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
outlets: {mall: {timezone: Asia/Jakarta}}
sources: {shop: {}, poller: {}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
routes:
  orders:
    to: books
    steps:
      - {name: order, effect: "order/${body.data.id}"}
`, r.server.URL, "file:"+in.write("books.secret", receiverSecret)))
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	for _, source := range []string{"shop", "poller"} {
		key := in.write(source+".key", strings.TrimSpace(in.run("keys", "create", source)))
		var lines strings.Builder
		for i := range 5 {
			fmt.Fprintf(&lines, `{"id":"%[1]s-%[2]d","type":"order.updated","orderingKey":"%[1]s/1042/%[3]d","references":{"order":"1042"},"textData":"{\"data\":{\"id\":1042,\"as of\":%[2]d}}"}`+"\n", source, i, i%2)
		}
		in.run("publish", in.write(source+".jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	}
	db := in.database()
	waitUntil(t, func() bool {
		return query[int](t, db, `SELECT count(*) FROM timeline WHERE state = 'DELIVERED'`) == 10
	}, p.log.String)
	if n := query[int](t, db, `SELECT count(*) FROM timeline WHERE what = 'attempt'`); n != 1 {
		t.Errorf("%d requests were made, want 1", n)
	}
	if n := query[int](t, db, `SELECT count(*) FROM effects WHERE effect = 'order/1042' AND revision = 1`); n != 1 {
		t.Errorf("the ledger has the effect %d times", n)
	}
	story := in.run("story", "1042")
	if strings.Count(story, "was there already, order/1042") != 9 || strings.Count(story, "done, order/1042") != 1 {
		t.Errorf("the story:\n%s", story)
	}
}
