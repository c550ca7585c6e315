package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/connectors/client"
	"raffsync/outbox/pglocal"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// A power loss takes away what was written and never synced, which no SIGKILL does: the
// kernel still has it. So Postgres runs on a file system inside of a file. What was not
// synced is in that file system's memory, and not in the file. Once every process of
// Postgres is dead, the file is copied as it is, and Postgres started on the copy.
func TestProgram_SurvivesPowerLoss(t *testing.T) {
	for _, c := range []struct {
		name    string
		noFsync bool
	}{{"WithFsync", false}, {"WithoutFsyncIsCaught", true}} {
		t.Run(c.name, func(t *testing.T) {
			acknowledged, there, err := losePower(t, c.noFsync)
			lost := 0
			for _, id := range acknowledged {
				if !there[id] {
					lost++
				}
			}
			t.Logf("%d events acknowledged, %d lost; the start after it: %v", len(acknowledged), lost, err)
			switch {
			case !c.noFsync && (err != nil || lost > 0):
				t.Errorf("%d of %d acknowledged events are lost (%v)", lost, len(acknowledged), err)
			case c.noFsync && err == nil && lost == 0:
				t.Error("nothing is lost without fsync: the test has lost its teeth")
			}
		})
	}
}

// losePower has events streamed in until the power goes, and returns what was
// acknowledged until then, and what is there afterwards. The error is that of a
// Postgres that does not start any more.
func losePower(t *testing.T, noFsync bool) (acknowledged []string, there map[string]bool, err error) {
	disk := newDisk(t, "")
	pg, err := pglocal.Start(t.Context(), pglocal.Config{Dir: filepath.Join(disk.mount, "cluster"), NoFsync: noFsync})
	if err != nil {
		t.Fatal(err)
	}
	stop := func(pg *pglocal.Server) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := pg.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
	stopped := false
	defer func() {
		if !stopped {
			stop(pg)
		}
	}()
	if err := createDatabase(t.Context(), pg.DSN("postgres")); err != nil {
		t.Fatal(err)
	}
	in := newInstallation(t)
	database := []string{"--database", pg.DSN(embeddedDatabase), "--unsafe-postgres"}
	p := in.start(append(database, "serve", "--config", in.write("shop.yaml", "tenant: kopi\nsources: {till: {}}\n"))...)
	p.until(`"msg":"ready"`)
	key := strings.TrimSpace(in.run(append(database, "keys", "create", "till")...))
	syscall.Sync() // the tables themselves are not what this is about

	acked := newSet()
	c, err := client.New(client.Config{
		Target: in.grpc, Key: key, Name: "power", Logger: slog.New(slog.DiscardHandler), BufferEvents: 256,
		OnResult: func(e *raffsyncv1.Event, _ client.Result) { acked.add(e.Id) },
	})
	if err != nil {
		t.Fatal(err)
	}
	streaming, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(streaming) }()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 0; ; i++ {
			e := &raffsyncv1.Event{
				Id: fmt.Sprintf("event-%06d", i), Type: "order.created", OrderingKey: fmt.Sprintf("order/%d", i%67),
				Data: &raffsyncv1.Event_TextData{TextData: "{}"},
			}
			if c.Send(streaming, e) != nil {
				return
			}
		}
	}()
	waitUntil(t, func() bool { return acked.len() >= 3000 }, func() string { return "nothing is acknowledged:\n" + p.log.String() })

	if err := syscall.Kill(pg.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	stop(pg) // waits until its sessions are gone too: nobody acknowledges any more
	stopped = true
	copied := disk.copy(t)
	p.signal(syscall.SIGKILL)
	cancel()
	<-sent
	<-ran
	acknowledged = acked.list()

	after := newDisk(t, copied)
	starting, cancelStart := context.WithTimeout(t.Context(), time.Minute)
	defer cancelStart()
	again, err := pglocal.Start(starting, pglocal.Config{Dir: filepath.Join(after.mount, "cluster"), NoFsync: noFsync})
	if err != nil {
		return acknowledged, nil, err
	}
	defer stop(again)
	conn, err := pgx.Connect(t.Context(), again.DSN(embeddedDatabase))
	if err != nil {
		return acknowledged, nil, err
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `SELECT id FROM events`)
	if err != nil {
		return acknowledged, nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	there = make(map[string]bool, len(ids))
	for _, id := range ids {
		there[id] = true
	}
	return acknowledged, there, err
}

// disk is a file system inside of a file.
type disk struct{ image, mount string }

// newDisk mounts an image, or a new one. It needs root, loop devices and mkfs.ext4.
func newDisk(t *testing.T, image string) disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a file")
	}
	// Not in the test's own folder: the account that Postgres runs as has to get there.
	mount, err := pglocal.DefaultDir(fmt.Sprintf("power-%d-%d", os.Getpid(), time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	d := disk{image: image, mount: mount}
	if err := os.MkdirAll(d.mount, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(d.mount); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(filepath.Dir(d.mount), 0o755); err != nil {
		t.Fatal(err)
	}
	if image == "" {
		d.image = filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(d.image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(d.image, 512<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
			t.Skipf("no file system in a file here: %v %s", err, out)
		}
	}
	// The file system writes nothing back by itself for longer than the test takes.
	if out, err := exec.Command("mount", "-o", "loop,commit=600,noatime", d.image, d.mount).CombinedOutput(); err != nil {
		t.Skipf("no file can be mounted here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", d.mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return d
}

// copy is the file as it is: what the file system has not written to it is lost.
func (d disk) copy(t *testing.T) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "after")
	if out, err := exec.Command("cp", "--sparse=always", d.image, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return copied
}
