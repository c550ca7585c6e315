package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"raffsync/migrations"
	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

// untilReady waits until the process can do its work.
func (in *installation) untilReady() {
	in.t.Helper()
	waitUntil(in.t, func() bool { return in.readiness().Ready }, func() string { return fmt.Sprintf("never ready: %+v", in.readiness()) })
}

// readiness is what /readyz?verbose says; nothing where nobody answers.
func (in *installation) readiness() (r readiness) {
	in.t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get("http://" + in.http + "/readyz?verbose")
	if err != nil {
		return r
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		in.t.Errorf("/readyz?verbose: %v", err)
	}
	if r.Ready != (response.StatusCode == http.StatusOK) {
		in.t.Errorf("/readyz?verbose says %+v with status %d", r, response.StatusCode)
	}
	return r
}

func TestReady(t *testing.T) {
	latest := int64(migrations.Latest())
	well := outbox.Condition{Writable: true, Version: latest, Lanes: 64, Held: 64, Replicas: 2}
	with := func(change func(*outbox.Condition)) outbox.Condition {
		c := well
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		stopping  bool
		condition outbox.Condition
		err       error
		lanes     int
		fails     string // the check that does
	}{
		"Well":            {condition: well, lanes: 32},
		"OthersHoldLanes": {condition: well, lanes: 0},
		"NobodyDoes":      {condition: with(func(c *outbox.Condition) { c.Held = 0 }), lanes: 64, fails: "lanes"},
		"Stopping":        {stopping: true, condition: well, lanes: 64, fails: "running"},
		"NoPostgres":      {err: errors.New("connect to db1.internal as sync: refused"), fails: "postgres"},
		"ReadOnly":        {condition: with(func(c *outbox.Condition) { c.Writable = false }), fails: "writable"},
		"Behind":          {condition: with(func(c *outbox.Condition) { c.Version-- }), fails: "migrations"},
		"OneAhead":        {condition: with(func(c *outbox.Condition) { c.Version++ })},
		"TwoAhead":        {condition: with(func(c *outbox.Condition) { c.Version += 2 }), fails: "migrations"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(test.stopping, test.condition, test.err, test.lanes)
			var failed []string
			for _, c := range r.Checks {
				if !c.OK {
					failed = append(failed, c.Name)
				}
			}
			if got := strings.Join(failed, " "); got != test.fails || r.Ready != (got == "") || (r.String() == "ready") != r.Ready {
				t.Errorf("%q fails, want %q; ready %v, in words: %s", got, test.fails, r.Ready, r)
			}
			if strings.Contains(r.String(), "db1.internal") {
				t.Errorf("it names a host: %s", r)
			}
		})
	}
}

// A Postgres that can't be used makes the process not ready, and leaves it alive.
func TestProgram_NotReady(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewDatabase(t)
	in := newInstallation(t)
	p := in.start("--database", dsn, "--unsafe-postgres", "serve")
	p.until(`"msg":"ready"`)
	in.untilReady()
	db := connect(t, dsn)
	// Sessions learn of a setting of the database when they begin. One that was beginning then
	// is not listed yet, and so they are ended for as long as one of before is there.
	var changed time.Time
	endOld := func() {
		t.Helper()
		if _, err := db.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_start < $1`, changed); err != nil {
			t.Fatal(err)
		}
	}
	fails := func(name string) {
		t.Helper()
		waitUntil(t, func() bool {
			endOld()
			for _, c := range in.readiness().Checks {
				if c.Name == name && !c.OK {
					return true
				}
			}
			return false
		}, func() string { return fmt.Sprintf("%s never fails: %+v", name, in.readiness()) })
		if status := get(t, "http://"+in.http+"/readyz"); status != http.StatusServiceUnavailable {
			t.Errorf("/readyz answers %d", status)
		}
		if status := get(t, "http://"+in.http+"/healthz"); status != http.StatusOK {
			t.Errorf("/healthz answers %d", status)
		}
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`UPDATE schema_migrations SET version = version + 2`)
	fails("migrations")
	exec(`UPDATE schema_migrations SET version = version - 2`)
	in.untilReady()
	set := func(what string) {
		exec(`ALTER DATABASE "` + db.Config().Database + `" ` + what)
		if err := db.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&changed); err != nil {
			t.Fatal(err)
		}
		endOld()
	}
	set(`SET default_transaction_read_only = on`)
	fails("writable")
	set(`RESET default_transaction_read_only`)
	in.untilReady()
	p.signal(syscall.SIGTERM)
	if p.err != nil {
		t.Errorf("a graceful stop: %v\n%s", p.err, p.log)
	}
}
