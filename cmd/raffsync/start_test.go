package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/outboxtest"
)

const bareShop = `
tenant: kopi
sources: {till: {}}
destinations:
  books: {webhook: {url: "http://127.0.0.1:1/events", secret: %q}}
routes:
  all: {from: till, to: books}
`

// What cannot start says why, and what to do about it.
func TestProgram_RefusesToStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	unsafe := outboxtest.NewDatabase(t) // the tests' server runs with fsync off
	readOnly := readOnlyDatabase(t)

	in := newInstallation(t)
	for name, test := range map[string]struct {
		arguments []string
		code      int
		says      []string
	}{
		"PortTaken":          {[]string{"--database", unsafe, "--unsafe-postgres", "serve", "--http", taken.Addr().String()}, 1, []string{taken.Addr().String(), "--http"}},
		"MetricsPortTaken":   {[]string{"--database", unsafe, "--unsafe-postgres", "serve", "--metrics", taken.Addr().String()}, 1, []string{taken.Addr().String(), "--metrics"}},
		"MetricsBeyond":      {[]string{"--database", unsafe, "--unsafe-postgres", "serve", "--metrics", "0.0.0.0:0"}, 1, []string{"TLS"}},
		"NoAddress":          {[]string{"--database", unsafe, "--unsafe-postgres", "serve", "--http", "nonsense"}, 1, []string{`"nonsense"`, "--http", "127.0.0.1:8080"}},
		"BeyondLoopback":     {[]string{"--database", unsafe, "--unsafe-postgres", "serve", "--grpc", "0.0.0.0:0"}, 1, []string{"TLS"}},
		"FsyncOff":           {[]string{"--database", unsafe, "serve"}, 1, []string{"fsync", "turn it on"}},
		"PostgresNotThere":   {[]string{"--database", "postgres://nobody@127.0.0.1:1/none?connect_timeout=2", "serve"}, 1, []string{"see whether it runs"}},
		"UnreadableURL":      {[]string{"--database", "postgres://user:s3cr3t@[::1/none", "serve"}, 1, []string{"cannot parse"}},
		"ReadOnly":           {[]string{"--database", readOnly, "--unsafe-postgres", "serve"}, 1, []string{"read-only"}},
		"NoSuchConfig":       {[]string{"serve", "--config", "nowhere.yaml"}, 2, []string{"nowhere.yaml"}},
		"UnknownField":       {[]string{"serve", "--config", in.write("bad.yaml", "tenant: kopi\nsurces: {}\n")}, 1, []string{"bad.yaml:2:1", "sources"}},
		"NoSuchTenant":       {[]string{"--database", unsafe, "--unsafe-postgres", "story", "1042"}, 1, []string{"apply one first"}},
		"UnknownCommandFlag": {[]string{"serve", "--prot", "1"}, 2, []string{"raffsync: unknown flag --prot", "see raffsync serve --help"}},
		"UnknownCommand":     {[]string{"srve"}, 2, []string{"srve", "see raffsync --help"}},
		"HalfACommand":       {[]string{"keys"}, 2, []string{"create", "see raffsync keys --help"}},
		"ArgumentIsMissing":  {[]string{"story"}, 2, []string{"reference", "see raffsync story --help"}},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := in.try(test.arguments...)
			if code != test.code || stdout != "" {
				t.Fatalf("status %d, want %d and nothing on the standard output:\n%s%s", code, test.code, stdout, stderr)
			}
			if lines := strings.Count(stderr, "\n"); test.code == 2 && lines > 2 {
				t.Errorf("%d lines where the error and a hint are enough:\n%s", lines, stderr)
			}
			for _, text := range test.says {
				if !strings.Contains(stdout+stderr, text) {
					t.Errorf("it does not mention %q:\n%s%s", text, stdout, stderr)
				}
			}
			if strings.Contains(stdout+stderr, "s3cr3t") {
				t.Errorf("it tells a password:\n%s%s", stdout, stderr)
			}
		})
	}
}

// What scripts read.
func TestProgram_AsJSON(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	var version struct {
		Version, Go string
		Revision    *string
		Schema      int
	}
	if err := json.Unmarshal([]byte(in.run("version", "--json")), &version); err != nil || version.Version == "" || version.Go == "" || version.Schema == 0 || version.Revision != nil && *version.Revision == "" {
		t.Errorf("version: %+v, %v", version, err)
	}
	if out := in.run("version"); strings.Contains(out, " ,") || strings.Contains(out, "  ") {
		t.Errorf("version: %q", out)
	}
	file := in.write("shop.yaml", "tenant: kopi\nsources: {till: {}}\n")
	if out := in.run("check", file); !strings.Contains(out, "right: 1 source, 0 destinations, 0 routes") {
		t.Errorf("check: %q", out)
	}
	database := outboxtest.NewDatabase(t)
	var applied struct {
		Tenant    string
		Version   int
		Changes   []struct{ Action, Kind, Name string }
		Processes []struct{}
	}
	if err := json.Unmarshal([]byte(in.run("--database", database, "--unsafe-postgres", "apply", file, "--json")), &applied); err != nil {
		t.Fatal(err)
	}
	if applied.Tenant != "kopi" || applied.Version != 1 || len(applied.Changes) != 2 || applied.Changes[1] != (struct{ Action, Kind, Name string }{"added", "source", "till"}) || applied.Processes == nil || len(applied.Processes) != 0 {
		t.Errorf("apply: %+v", applied)
	}
}

// Without a command it says what there is.
func TestProgram_Help(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	if stdout, stderr, code := in.finish(bare(t)); code != 0 || stderr != "" || !strings.Contains(stdout, "Usage: raffsync <command>") || !strings.Contains(stdout, "story") {
		t.Errorf("status %d\n%s%s", code, stdout, stderr)
	}
}

func bare(t *testing.T) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(path)
}

// readOnlyDatabase is a migrated database whose sessions cannot write, as a standby's.
func readOnlyDatabase(t *testing.T) string {
	t.Helper()
	dsn := outboxtest.NewDatabase(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `ALTER DATABASE `+pgx.Identifier{conn.Config().Database}.Sanitize()+` SET default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// One folder, one process; and a configuration in force that only apply changes.
func TestProgram_ConfigurationInForce(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	secret := "file:" + in.write("books.secret", receiverSecret)
	config := in.write("shop.yaml", fmt.Sprintf(bareShop, secret))
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)

	if _, stderr, code := in.try("serve", "--config", config, "--development"); code == 0 || !strings.Contains(stderr, "runs already") {
		t.Errorf("a second process on one folder: status %d, %s", code, stderr)
	}
	if status := get(t, "http://"+in.http+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d", status)
	}
	in.untilReady()

	key := strings.TrimSpace(in.run("keys", "create", "till"))
	var keys []struct{ Prefix, Source string }
	if err := json.Unmarshal([]byte(in.run("keys", "list", "--json")), &keys); err != nil || len(keys) != 1 || keys[0].Source != "till" {
		t.Fatalf("the list of keys: %v, %v", keys, err)
	}
	if strings.Contains(in.run("keys", "list"), key) {
		t.Error("the list of keys shows the secret")
	}
	if _, stderr, code := in.try("keys", "create", "tillx"); code == 0 || !strings.Contains(stderr, "no source") {
		t.Errorf("a key for a source that is not configured: status %d, %s", code, stderr)
	}
	for _, arguments := range [][]string{{"keys", "list"}, {"keys", "operator", "bob"}, {"keys", "create", "till"}, {"story", "1042"}} {
		if stdout, stderr, code := in.try(append(arguments, "--tenant", "nope")...); code != 1 || !strings.Contains(stderr, `no tenant "nope"; there is kopi`) {
			t.Errorf("%v of a tenant that there is not: status %d\n%s%s", arguments, code, stdout, stderr)
		}
	}
	login := strings.Split(strings.TrimSpace(in.run("keys", "operator", "bob")), " / ")
	if status := ask(t, in.http, login); status != http.StatusOK {
		t.Errorf("the new login is answered with %d", status)
	}
	if out := in.run("keys", "operators"); !strings.Contains(out, "bob") || !strings.Contains(out, "in force") || strings.Contains(out, login[1]) {
		t.Errorf("the list of operators:\n%s", out)
	}
	in.run("keys", "revoke-operator", "bob")
	if out := in.run("keys", "operators", "--json"); !strings.Contains(out, "revokedAt") {
		t.Errorf("the list of operators:\n%s", out)
	}
	event := `{"id":"1042","type":"order.created","orderingKey":"order/1042","textData":"{}"}` + "\n"
	publish := func(key string) (string, int) {
		path := in.write("event.jsonl", event)
		_, stderr, code := in.try("publish", path, "--to", in.grpc, "--key-file", in.write("till.key", key))
		return stderr, code
	}
	if stderr, code := publish(key); code != 0 {
		t.Errorf("publish: status %d, %s", code, stderr)
	}
	story := in.run("story", "order/1042")
	if !strings.Contains(story, "order.created") || !strings.Contains(story, "accepted") {
		t.Errorf("the story of the event:\n%s", story)
	}
	for _, c := range []struct {
		hold, release []string
		says          string
	}{
		{[]string{"pause", "destination", "books"}, []string{"resume", "destination", "books"}, "(paused, by "},
		{[]string{"breaker", "books", "open"}, []string{"breaker", "books", "auto"}, "(breaker, by "},
	} {
		in.run(append(c.hold, "--reason", "stocktaking")...)
		told := func() string { return in.run("story", "order/1042") }
		waitUntil(t, func() bool {
			story := told()
			return strings.Contains(story, c.says) && strings.Contains(story, "stocktaking")
		}, told)
		if _, stderr, code := in.try(append(c.hold, "--reason", "again")...); code == 0 || !strings.Contains(stderr, "already") {
			t.Errorf("%v again: status %d, %s", c.hold, code, stderr)
		}
		in.run(append(c.release, "--reason", "done")...)
	}
	if _, stderr, code := in.try("pause", "route", "nowhere", "--reason", "x"); code == 0 || !strings.Contains(stderr, `no route "nowhere"`) {
		t.Errorf("pausing what is not there: status %d, %s", code, stderr)
	}
	in.run("keys", "revoke", keys[0].Prefix)
	waitUntil(t, func() bool { _, code := publish(key); return code != 0 }, func() string { return "a revoked key is still good" })
	if stderr, _ := publish(key); strings.Contains(stderr, key) || !strings.Contains(strings.ToLower(stderr), "key") {
		t.Errorf("the error about a revoked key: %s", stderr)
	}

	changed := in.write("changed.yaml", strings.Replace(fmt.Sprintf(bareShop, secret), "to: books}", "to: books, types: [order.paid]}", 1))
	if out := in.run("apply", changed, "--development", "--reason", "only paid orders"); !strings.Contains(out, "version 2") {
		t.Errorf("apply says %s", out)
	}
	if _, stderr, code := in.try("apply", in.write("empty.yaml", "tenant: kopi\nsources: {till: {}}\n")); code == 0 || !strings.Contains(stderr, "open deliveries") {
		t.Errorf("removing a busy destination: status %d, %s", code, stderr)
	}
	p.signal(syscall.SIGTERM)
	if p.err != nil {
		t.Errorf("a graceful stop: %v\n%s", p.err, p.log)
	}
	if _, stderr, code := in.try("serve", "--config", config, "--development"); code == 0 || !strings.Contains(stderr, "differs from version 2") {
		t.Errorf("serve with a differing file: status %d, %s", code, stderr)
	}
	// Without a process, the commands start Postgres for themselves.
	if out := in.run("story", "1042"); !strings.Contains(out, "order.created") {
		t.Errorf("the story after the stop:\n%s", out)
	}
	if strings.Contains(p.log.String(), key[len(key)-20:]) || strings.Contains(p.log.String(), strings.TrimPrefix(receiverSecret, "whsec_")) {
		t.Error("a secret is in the log")
	}
}

// ask asks the API who a login is.
func ask(t *testing.T, address string, login []string) int {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+address+"/graphql", strings.NewReader(`{"query":"{ viewer { name } }"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(login[0], login[1])
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func get(t *testing.T, url string) int {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// An embedded Postgres that is killed takes the program with it, with a word; the next
// start brings both up, with everything that was acknowledged.
func TestProgram_PostgresKilled(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(bareShop, "file:"+in.write("books.secret", receiverSecret)))
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	event := in.write("event.jsonl", `{"id":"1042","type":"order.created","orderingKey":"order/1042","textData":"{}"}`+"\n")
	in.run("publish", event, "--to", in.grpc, "--key-file", key)

	db := in.database()
	pid := query[int](t, db, `SELECT (regexp_match(pg_read_file('postmaster.pid'), '^[0-9]+'))[1]::int`)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		t.Fatalf("the program goes on without Postgres:\n%s", p.log)
	}
	if p.err == nil || !strings.Contains(p.log.String(), "start again") {
		t.Errorf("the program ended with %v and said:\n%s", p.err, p.log)
	}
	p = in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	if out := in.run("story", "1042"); !strings.Contains(out, "order.created") {
		t.Errorf("the story after the crash:\n%s", out)
	}
}
