package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/outboxtest"
)

// A real disk fills up under the running program: what was not acknowledged was not
// kept, and once there is room again the same file, sent again, is all there.
func TestProgram_DiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small file system can only be mounted as root")
	}
	t.Parallel()
	r := newReceiver(t)
	server := outboxtest.NewServer(t, outboxtest.ServerOptions{Fsync: true})
	dsn := server.NewDatabase()
	disk := mountSmallDisk(t, "48m")
	onDisk(t, server, dsn, disk)

	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
routes:
  all: {from: till, to: books, retry: {initial: 50ms, cap: 500ms, attempts: 1000}}
`, r.server.URL, "file:"+in.write("books.secret", receiverSecret)))
	p := in.start("--database", dsn, "serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("--database", dsn, "keys", "create", "till")))

	const events = 800 // 80 MB, of which half may be compressed away
	var lines bytes.Buffer
	for i := range events {
		fmt.Fprintf(&lines, `{"id":"e%04d","type":"order.created","orderingKey":"order/%d","textData":"\"%s\""}`+"\n", i, i%50, noise(i, 100_000))
	}
	file := in.write("orders.jsonl", lines.String())
	publish := func() (string, int) {
		_, stderr, code := in.try("publish", file, "--to", in.grpc, "--key-file", key, "--give-up-after", "5s")
		return stderr, code
	}
	stderr, code := publish()
	if code == 0 {
		t.Fatalf("everything was accepted; the disk is not small enough:\n%s", stderr)
	}
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	kept := query[int](t, db, `SELECT count(*) FROM events`)
	if kept == 0 || kept >= events {
		t.Fatalf("%d of %d events are kept; the test wants the disk to fill in the middle", kept, events)
	}
	if p.ended() {
		t.Fatalf("the program ended:\n%s", p.log)
	}

	if out, err := exec.Command("mount", "-o", "remount,size=512m", disk).CombinedOutput(); err != nil {
		t.Fatalf("make room: %v\n%s", err, out)
	}
	if stderr, code := publish(); code != 0 {
		t.Fatalf("with room again: status %d\n%s", code, stderr)
	}
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, func() string {
		return fmt.Sprintf("%d deliveries are still open\n%s", query[int](t, db, `SELECT count(*) FROM deliveries`), p.log)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) != events {
		t.Errorf("%d distinct events at the receiver, want %d", len(r.events), events)
	}
	t.Logf("the disk was full after %d of %d events", kept, events)
}

// noise is text that Postgres cannot compress away, the same at each call.
func noise(i, bytes int) string {
	b := make([]byte, bytes/2)
	source := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
	source.Read(b)
	return hex.EncodeToString(b)
}

// mountSmallDisk mounts a file system of this size, which Postgres may write to.
func mountSmallDisk(t *testing.T, size string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "raffsync-disk-") // not below t.TempDir, which Postgres may not enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v\n%s", err, out)
		}
	})
	uid := 65534 // whom the launcher drops to where there is no user postgres
	if u, err := user.Lookup("postgres"); err == nil {
		if uid, err = strconv.Atoi(u.Uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	return dir
}

// onDisk moves a database's tables to the disk.
func onDisk(t *testing.T, server *outboxtest.Server, dsn, disk string) {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgx.Connect(t.Context(), server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	for _, sql := range []string{
		`CREATE TABLESPACE small LOCATION '` + disk + `'`,
		`ALTER DATABASE ` + pgx.Identifier{config.Database}.Sanitize() + ` SET TABLESPACE small`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}
