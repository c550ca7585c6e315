package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"raffsync/migrations"
	"raffsync/outbox"
)

// readiness is whether the process can do its work, and why not.
type readiness struct {
	Ready  bool    `json:"ready"`
	Checks []check `json:"checks"`
}

// check is one condition of being ready.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// readyTimeout bounds the look at Postgres.
const readyTimeout = 2 * time.Second

// ready judges. The condition is asked only where the process is not stopping; err says
// that Postgres did not answer. lanes are those that this process holds.
func ready(stopping bool, c outbox.Condition, err error, lanes int) readiness {
	r := readiness{Ready: true}
	want := func(name string, ok bool, detail string) {
		r.Checks = append(r.Checks, check{name, ok, detail})
		r.Ready = r.Ready && ok
	}
	if stopping {
		want("running", false, "stopping: sources drain, and what is on the wire is finished")
		return r
	}
	want("running", true, "not stopping")
	if err != nil {
		// Why is in the log: it may name hosts and accounts.
		want("postgres", false, "Postgres does not answer")
		return r
	}
	want("postgres", true, "Postgres answers")
	if c.Writable {
		want("writable", true, "Postgres takes writes")
	} else {
		want("writable", false, "Postgres is read-only (a standby?)")
	}
	latest := int64(migrations.Latest())
	// One ahead is what this version still works with, during an upgrade.
	want("migrations", c.Version == latest || c.Version == latest+1,
		fmt.Sprintf("the database is at version %d, this program at %d", c.Version, latest))
	want("lanes", c.Held > 0, fmt.Sprintf("%d of %d lanes are held, %d of them here; replicas alive: %d", c.Held, c.Lanes, lanes, c.Replicas))
	return r
}

// room adds whether events are taken in, or why not.
func (r *readiness) room(full string) {
	if full != "" {
		r.Ready = false
		r.Checks = append(r.Checks, check{"disk", false, "events are refused: " + full})
		return
	}
	r.Checks = append(r.Checks, check{"disk", true, "there is room for events"})
}

// readyz answers 200 where the process is ready and 503 where not: in a few words, or,
// asked as /readyz?verbose, with every check as JSON.
func (a *app) readyz(stopping <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var judged readiness
		select {
		case <-stopping:
			judged = ready(true, outbox.Condition{}, nil, 0)
		default:
			ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
			defer cancel()
			condition, err := a.config.store.Condition(ctx)
			if err != nil {
				a.config.log.WarnContext(ctx, "not ready", "error", err)
			}
			judged = ready(false, condition, err, a.dispatcher.Lanes())
			judged.room(a.config.watermark.full())
		}
		status := http.StatusOK
		if !judged.Ready {
			status = http.StatusServiceUnavailable
		}
		if !r.URL.Query().Has("verbose") {
			answer(w, status, judged.String())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(judged)
	})
}

// String is "ready", or what is missing.
func (r readiness) String() string {
	var missing []string
	for _, c := range r.Checks {
		if !c.OK {
			missing = append(missing, c.Detail)
		}
	}
	if len(missing) == 0 {
		return "ready"
	}
	return strings.Join(missing, "\n")
}
