package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/jackc/pgx/v5"

	"raffsync/connectors/simulator/mail"
	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

// Scenarios are files of steps, each with what is to be seen after it:
//
//	answer order/1042 422     the platform does so from now on
//	accept                    events stream in over gRPC
//	advance 5m                the database's clock goes on, and whatever is due is done
//	raffsync                  operators' commands; graphql: their requests
//	timeline                  all that has been written down since it was last asked for
//
// They run the real program against a database whose clock the file holds. Before a step
// shows anything, all is at rest: nothing is on the wire, due, or to be released. So there
// is one right text, and -rewrite writes down what comes out.
//
//	go test ./cmd/raffsync -run TestScenarios/tax-edit -rewrite
func TestScenarios(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		t.Parallel()
		w := &world{t: t}
		datadriven.RunTest(t, path, w.step)
	})
}

// world is what one scenario happens in.
type world struct {
	t         *testing.T
	in        *installation
	program   *process
	db        *pgx.Conn
	clock     *outboxtest.Clock
	key       string // of the source till
	platform  *platform
	mail      *mail.Server
	operators map[string]*apiClient
	names     names
	told      int64          // the last entry of the timeline that was shown
	accepted  map[int64]bool // the entries that events are, which are below zero, that were shown
	letters   int            // how many were shown
}

// steps by their names. Each returns what is to be seen.
var steps = map[string]func(*world, *datadriven.TestData) string{
	"start": (*world).start, "accept": (*world).accept, "answer": (*world).answer, "mail": (*world).setMail,
	"advance": (*world).advance, "raffsync": (*world).command, "graphql": (*world).graphql,
	"timeline": (*world).timeline, "platform": (*world).showPlatform, "letters": (*world).showLetters,
}

func (w *world) step(t *testing.T, d *datadriven.TestData) string {
	w.t = t
	do, known := steps[d.Cmd]
	if !known {
		d.Fatalf(t, "no step %q; there are %s", d.Cmd, strings.Join(slices.Sorted(maps.Keys(steps)), ", "))
	}
	return w.names.hide(do(w, d))
}

// start puts the configuration in force at a moment, in UTC: start 2027-10-29T15:45.
func (w *world) start(d *datadriven.TestData) string {
	w.begin(d.CmdArgs[0].Key, d.Input)
	return ""
}

// begin is start. In the configuration ${platform}, ${mail} and ${raffsync} stand for where
// those are.
func (w *world) begin(moment, config string) {
	w.t.Helper()
	at, err := time.Parse("2006-01-02T15:04", moment)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.mail, err = mail.Start(mail.Config{}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.mail.Down)
	w.platform = newPlatform(w.t)
	dsn := outboxtest.NewDatabase(w.t)
	w.clock = outboxtest.NewClock(w.t, dsn, at)
	w.in = newInstallation(w.t)
	w.in.env = []string{
		"DATABASE_URL=" + dsn, "RAFFSYNC_UNSAFE_POSTGRES=1", "RAFFSYNC_LEASE=2s", "RAFFSYNC_SECRET_KEY=" + outbox.NewKey(),
		"TZ=UTC", "SSL_CERT_FILE=" + w.in.write("ca.pem", string(w.mail.CA())),
	}
	w.names = names{secrets: map[string]string{w.platform.server.URL: "PLATFORM", w.mail.Address(): "MAIL", w.in.http: "RAFFSYNC", actor("").Name: "an operator"}}
	if w.db, err = pgx.Connect(w.t.Context(), dsn); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.db.Close(context.Background()) })
	config = strings.NewReplacer("${platform}", w.platform.server.URL, "${mail}", w.mail.Address(), "${raffsync}", "http://"+w.in.http).Replace(config)
	w.program = w.in.start("serve", "--development", "--config", w.in.write("shop.yaml", config))
	w.program.until(`"msg":"ready"`)
	w.key = strings.TrimSpace(w.in.run("keys", "create", "till"))
	w.told, w.accepted = query[int64](w.t, w.db, `SELECT max(entry) FROM timeline`), make(map[int64]bool)
}

// another is one more process on the same database.
func (w *world) another() *process {
	w.t.Helper()
	in := newInstallation(w.t)
	in.env = w.in.env
	p := in.start("serve", "--development")
	p.until(`"msg":"ready"`)
	return p
}

// restSQL tells whether anything is still to happen without the clock going on: a head of
// a line that is neither held nor asked to wait, a request on the wire, what is due, what
// an exception that is over still holds.
const restSQL = `
SELECT NOT EXISTS (
  SELECT FROM deliveries d JOIN destinations x ON x.id = d.destination
   WHERE (d.state = 0 OR d.state = 1 AND d.due_at <= now())
     AND NOT EXISTS (SELECT FROM controls c WHERE c.tenant = d.tenant AND c.kind IN ('destination', 'authorisation') AND c.name = x.name)
     AND NOT EXISTS (
       SELECT FROM deliveries p WHERE p.lane = d.lane AND p.destination = d.destination AND p.key_hash = d.key_hash AND (p.accepted_at, p.seq) < (d.accepted_at, d.seq)))
   AND NOT EXISTS (
  SELECT FROM intents i, unnest(i.lanes, i.destinations, i.seqs, i.attempts) AS n(lane, destination, seq, attempt)
    JOIN deliveries d USING (lane, destination, seq) WHERE d.requests < n.attempt)
   AND NOT EXISTS (SELECT FROM escalations WHERE next_at <= now())
   AND NOT EXISTS (SELECT FROM holds h JOIN exceptions x ON x.id = h.exception WHERE x.closed_at IS NOT NULL)
   AND NOT EXISTS (SELECT FROM jobs WHERE state = 'RUNNING')`

// rest waits until nothing is left to do at this moment.
func (w *world) rest() {
	w.t.Helper()
	waitUntil(w.t, func() bool { return query[bool](w.t, w.db, restSQL) }, func() string {
		return fmt.Sprintf("it does not come to rest\n%s", w.program.log)
	})
}

// advance lets the time pass, and says what it is then: advance 8h30m.
func (w *world) advance(d *datadriven.TestData) string {
	by, err := time.ParseDuration(d.CmdArgs[0].Key)
	if err != nil {
		d.Fatalf(w.t, "%v", err)
	}
	w.rest()
	w.clock.Advance(by)
	w.rest()
	return w.clock.Now().UTC().Format("Mon 2006-01-02 15:04")
}
