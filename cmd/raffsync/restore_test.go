package main

import (
	"fmt"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"raffsync/connectors/simulator"
	"raffsync/outbox/pglocal"
)

// The database is backed up with deliveries open, everything is delivered and more, and
// then the backup is put back. What the platforms have they have once, though one of them
// can only be asked, and one neither asked nor trusted with repeats.
func TestProgram_HasOneEffectAfterARestore(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	platforms := make(map[string]*simulator.Platform)
	urls := make(map[string]string)
	for name, forgetful := range map[string]bool{"books": true, "stock": false, "till-roll": true} {
		p, err := simulator.New(simulator.Config{
			Name: name, Behaviour: simulator.Healthy, Forgetful: forgetful, Secret: receiverSecret, Ledger: filepath.Join(t.TempDir(), name),
		})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(p.Handler())
		t.Cleanup(func() {
			server.Close()
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		platforms[name], urls[name] = p, server.URL
	}
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books:
    webhook: {url: "%[1]s/events", secret: %[4]q, idempotent: false, ask: {url: "%[1]s/events/{id}"}}
    timeout: 500ms
  stock: {webhook: {url: "%[2]s/events", secret: %[4]q}}
  till-roll: {webhook: {url: "%[3]s/events", secret: %[4]q, idempotent: false}}
routes:
  books: {from: till, to: books, retry: {initial: 20ms, cap: 200ms}}
  stock: {from: till, to: stock, retry: {initial: 20ms, cap: 200ms}}
  till-roll: {from: till, to: till-roll}
`, urls["books"], urls["stock"], urls["till-roll"], "file:"+in.write("books.secret", receiverSecret)))

	serve := func(more ...string) *process {
		p := in.start(append([]string{"serve", "--development", "--config", config}, more...)...)
		p.until(`"msg":"ready"`)
		return p
	}
	// file has a number of events, each under a key that another one shares.
	file := func(name string, from, to int) string {
		var lines strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&lines, `{"id":"event-%03d","type":"order.created","orderingKey":"order/%d","textData":"{}"}`+"\n", i, i%17)
		}
		return in.write(name, lines.String())
	}
	p := serve()
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	publish := func(path string) { in.run("publish", path, "--to", in.grpc, "--key-file", key) }
	each := func(arguments ...string) {
		for name := range platforms {
			in.run(append(arguments, "destination", name, "--reason", "a test")...)
		}
	}
	effects := func(want int64) {
		t.Helper()
		waitUntil(t, func() bool {
			for _, platform := range platforms {
				if platform.Summary().Effects < want {
					return false
				}
			}
			return true
		}, func() string { return p.log.String() })
		for name, platform := range platforms {
			if s := platform.Summary(); s.Effects != want {
				t.Fatalf("%s has %d effects, want %d", name, s.Effects, want)
			}
		}
	}

	const done, open, later = 20, 40, 30 // before the backup, while it was made, after it
	publish(file("done.jsonl", 0, done))
	effects(done)
	each("pause")
	p.until(`"held":3`)
	publish(file("open.jsonl", done, done+open))
	p.signal(syscall.SIGTERM)
	cluster, err := pglocal.DefaultDir(instanceName(in.state))
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	copyTree := func(from, to string) {
		t.Helper()
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	copyTree(cluster, backup)

	p = serve()
	each("resume")
	publish(file("later.jsonl", done+open, done+open+later))
	effects(done + open + later)
	p.signal(syscall.SIGTERM)
	if out, err := exec.Command("rm", "-rf", cluster).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	copyTree(backup, cluster)

	p = serve("--after-restore")
	for _, text := range []string{
		"paused destinations: books, stock, till-roll", fmt.Sprintf("unknown from now on: %d\n", 3*open), "resume destination books --reason",
	} {
		p.until(text)
	}
	publish(file("again.jsonl", 0, done+open+later))
	// What is not settled by the end of the process is counted by the next one once more.
	restored := in.database()
	waitUntil(t, func() bool {
		return query[int](t, restored, `SELECT count(*) FROM timeline WHERE detail ->> 'rule' = 'restored'`) == 3*open
	}, func() string { return p.log.String() })
	p.signal(syscall.SIGTERM)
	p = serve("--after-restore")
	p.until(fmt.Sprintf("unknown from now on: %d\n", 3*later))
	effects(done + open + later) // they are paused, so nothing can have come
	each("resume")

	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries WHERE state <> 2`) == 0 }, func() string { return p.log.String() })
	effects(done + open + later)
	for what, c := range map[string]struct {
		sql  string
		want int
	}{
		"found by asking":                 {`SELECT count(*) FROM timeline WHERE detail ? 'asked' AND state = 'DELIVERED'`, open + later},
		"recognised as a repeat":          {`SELECT count(*) FROM timeline t JOIN destinations d ON d.id = t.destination WHERE d.name = 'stock' AND t.state = 'DELIVERED'`, done + open + later},
		"left for a person":               {`SELECT count(*) FROM deliveries l JOIN exceptions x ON x.id = l.exception WHERE x.class = 'UNKNOWN_OUTCOME' AND x.rule = 'restored'`, open + later},
		"of unknown outcome, each once":   {`SELECT count(*) FROM timeline WHERE detail ->> 'rule' = 'restored'`, 3 * (open + later)},
		"told of once a start and tenant": {`SELECT count(*) FROM timeline WHERE what = 'restore' AND tenant = 'kopi'`, 2},
	} {
		if n := query[int](t, db, c.sql); n != c.want {
			t.Errorf("%d were %s, want %d", n, what, c.want)
		}
	}
	if n := platforms["stock"].Summary().Duplicates; n != 0 {
		t.Errorf("%d repeats took effect", n)
	}

	// A new event goes out as ever.
	publish(file("new.jsonl", 900, 901))
	waitUntil(t, func() bool { return platforms["books"].Summary().Effects == done+open+later+1 }, func() string { return p.log.String() })
	p.signal(syscall.SIGTERM)
}
