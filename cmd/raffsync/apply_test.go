package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

const shopOf = `
tenant: %s
sources: {till: {}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
  stock: {webhook: {url: %q, secret: %q}}
routes:
  all: {from: till, to: books}
  stock: {from: till, to: stock}
`

// toldStory is what `story --json` tells of one event.
func (in *installation) toldStory(tenant, text string) map[string]toldDelivery {
	in.t.Helper()
	var told struct {
		Events []struct{ Deliveries []toldDelivery }
	}
	if err := json.Unmarshal([]byte(in.run("story", text, "--tenant", tenant, "--json")), &told); err != nil {
		in.t.Fatal(err)
	}
	by := make(map[string]toldDelivery)
	for _, e := range told.Events {
		for _, d := range e.Deliveries {
			by[d.Destination] = d
		}
	}
	return by
}

// A configuration that a running process cannot use is told to whoever applies it, and
// stops nothing but the destination that it is about, at the next start neither.
func TestProgram_ConfigurationThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	r := newReceiver(t)
	good := "file:" + in.write("books.secret", receiverSecret)
	shop := func(name, tenant, books string) string {
		return in.write(name, fmt.Sprintf(shopOf, tenant, r.server.URL, books, r.server.URL, good))
	}
	kopi := shop("kopi.yaml", "kopi", good)
	p := in.start("serve", "--development", "--config", kopi)
	p.until(`"msg":"ready"`)
	if out := in.run("apply", shop("teh.yaml", "teh", good), "--development"); !strings.Contains(out, "version 1 of teh is in force in 1 of 1 running process") {
		t.Errorf("apply of a second tenant says %s", out)
	}

	// The secret is there for the command, and not for the process that serves.
	broken := shop("broken.yaml", "kopi", "env:OTHER_SECRET")
	apply := in.command("apply", broken, "--development")
	apply.Env = append(apply.Env, "OTHER_SECRET="+receiverSecret)
	stdout, stderr, code := in.finish(apply)
	if code != 1 || !strings.Contains(stdout, "in force in 0 of 1") || !strings.Contains(stderr, "OTHER_SECRET is not set") {
		t.Errorf("apply of what the server cannot use: status %d\n%s%s", code, stdout, stderr)
	}
	again := in.command("apply", broken, "--development", "--json")
	again.Env = append(again.Env, "OTHER_SECRET="+receiverSecret)
	stdout, _, code = in.finish(again)
	if code != 1 || !strings.Contains(stdout, "OTHER_SECRET is not set") {
		t.Errorf("apply --json of the same: status %d\n%s", code, stdout)
	}
	if strings.Contains(p.log.String(), receiverSecret) || strings.Contains(stdout+stderr, receiverSecret) {
		t.Error("a secret is told")
	}
	// Neither its other destination nor the other tenant is held up, and books goes on as
	// it was configured before.
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till", "--tenant", "kopi")))
	publish := func(id string) {
		t.Helper()
		event := in.write("event.jsonl", fmt.Sprintf(`{"id":%q,"type":"order.created","orderingKey":"order/%s","textData":"{}"}`+"\n", id, id))
		in.run("publish", event, "--to", in.grpc, "--key-file", key)
	}
	state := func(id, destination, want, waiting string) {
		t.Helper()
		var d toldDelivery
		waitUntil(t, func() bool {
			d = in.toldStory("kopi", id)[destination]
			return d.State == want && d.Waiting == waiting
		}, func() string {
			return fmt.Sprintf("%s of event %s: %+v, want %s %s\n%s", destination, id, d, want, waiting, p.log)
		})
		if waiting == "CONFIGURATION" && d.Reason == "" {
			t.Errorf("%s of event %s rests without a reason", destination, id)
		}
	}
	publish("1")
	state("1", "books", "DELIVERED", "")
	if out := in.run("apply", shop("teh.yaml", "teh", good), "--development"); !strings.Contains(out, "nothing differs") || !strings.Contains(out, "in force in 1 of 1") {
		t.Errorf("apply of the other tenant says %s", out)
	}
	if n := strings.Count(p.log.String(), "cannot be used"); n != 1 {
		t.Errorf("the trouble was logged %d times:\n%s", n, p.log)
	}
	p.signal(syscall.SIGTERM)

	// The next process starts all the same; what it cannot use rests.
	if _, stderr, code := in.try("apply", kopi, "--development"); code != 0 {
		t.Fatalf("apply: %s", stderr)
	}
	if out := in.run("apply", shop("teh.yaml", "teh", good), "--development"); !strings.Contains(out, "no process is running") {
		t.Errorf("apply without a process says %s", out)
	}
	apply = in.command("apply", broken, "--development")
	apply.Env = append(apply.Env, "OTHER_SECRET="+receiverSecret)
	if _, stderr, code := in.finish(apply); code != 0 {
		t.Errorf("apply without a process: status %d, %s", code, stderr)
	}
	p = in.start("serve", "--development")
	p.until(`"msg":"ready"`)
	publish("2")
	state("2", "stock", "DELIVERED", "")
	state("2", "books", "WAITING", "CONFIGURATION")
	in.run("apply", kopi, "--development")
	state("2", "books", "DELIVERED", "")
	p.signal(syscall.SIGTERM)

	// Without --development, destinations on this machine rest, and say so.
	p = in.start("serve")
	p.until(`"msg":"ready"`)
	publish("3")
	state("3", "books", "WAITING", "CONFIGURATION")
	if d := in.toldStory("kopi", "3")["books"]; !strings.Contains(d.Reason, "--development") {
		t.Errorf("what rests says %q", d.Reason)
	}
}
