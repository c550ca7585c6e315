package escalate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

// desk is a store with teams and policies, and a clock that the test holds.
type desk struct {
	t      *testing.T
	store  *outbox.Store
	db     *pgxpool.Pool
	worker *Worker
	logged bytes.Buffer
	now    time.Time
	said   []string // as they came: "24 10:00 mailto:catalogue@… subject"
	seen   map[string]bool
	zone   *time.Location
}

func newDesk(t *testing.T, change func(*outbox.Configuration)) *desk {
	t.Helper()
	dsn := outboxtest.NewDatabase(t)
	keys, err := outbox.ParseKeys(outbox.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	store, err := outbox.Open(t.Context(), outbox.Config{DSN: dsn, AllowUnsafe: true, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	db, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	d := &desk{t: t, store: store, db: db, seen: map[string]bool{}, zone: wall(t, jakarta, "2027-01-01 00:00").Location()}
	d.apply(change)
	d.worker = d.newWorker(nil)
	return d
}

func mailbox(address string) outbox.AddressConfig {
	return outbox.AddressConfig{Kind: outbox.KindMail, Settings: json.RawMessage(fmt.Sprintf(`{"to":%q}`, address))}
}

func (d *desk) apply(change func(*outbox.Configuration)) {
	d.t.Helper()
	c := outbox.Configuration{
		Tenant: "kopi", Sources: []outbox.SourceConfig{{Name: "till"}},
		Destinations: []outbox.DestinationConfig{{Name: "books", Kind: "webhook", Settings: json.RawMessage(`{}`)}},
		Routes:       []outbox.RouteConfig{},
		Outlets:      []outbox.OutletConfig{{Name: "mall", Timezone: jakarta, Open: "Mon-Sun 09:00-22:00", Holidays: []string{"2027-11-25"}, Team: "outlet"}},
		Teams: []outbox.TeamConfig{
			{Name: "catalogue", Language: "en", Notify: []outbox.AddressConfig{mailbox("catalogue@kopi.example")}},
			{Name: "outlet", Language: "id", Notify: []outbox.AddressConfig{mailbox("mall@kopi.example"), {Kind: outbox.KindChat, Settings: json.RawMessage(`{"url":"env:OPS_CHAT_URL"}`)}}},
		},
		Escalation: []outbox.EscalationConfig{{
			Clock: outbox.ClockOutletHours, IgnoreClockIf: "held > 100",
			Levels: []outbox.LevelConfig{{Team: "catalogue"}, {After: 30 * time.Minute, Repeat: 2 * time.Hour}},
		}},
		Mail: outbox.MailConfig{Server: "127.0.0.1:25", From: "sync@kopi.example"}, PublicURL: "https://sync.kopi.example",
	}
	if change != nil {
		change(&c)
	}
	if _, err := d.store.Apply(d.t.Context(), outbox.Actor{Tenant: "kopi", Name: "test"}, c, "test"); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) newWorker(acknowledge func() string) *Worker {
	d.t.Helper()
	w, err := New(Config{
		Store: d.store, Log: slog.New(slog.NewTextHandler(&d.logged, nil)),
		Acknowledge: func(base, tenant string, exception int64, address string, at time.Time) string {
			if acknowledge != nil {
				return acknowledge()
			}
			return fmt.Sprintf("%s/acknowledge?t=%s-%d-%s", base, tenant, exception, address)
		},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { w.notifier.Close(context.Background()) })
	return w
}

func (d *desk) exec(sql string, arguments ...any) {
	d.t.Helper()
	if _, err := d.db.Exec(d.t.Context(), sql, arguments...); err != nil {
		d.t.Fatalf("%v\n%s", err, sql)
	}
}

func value[T any](d *desk, sql string, arguments ...any) T {
	d.t.Helper()
	rows, err := d.db.Query(d.t.Context(), sql, arguments...)
	if err != nil {
		d.t.Fatal(err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		d.t.Fatalf("%v\n%s", err, sql)
	}
	return v
}

// raise opens an exception at a moment of the test's clock, of the books and the outlet.
func (d *desk) raise(class, code, at string) int64 {
	d.t.Helper()
	d.now = wall(d.t, jakarta, at)
	id := value[int64](d, `
INSERT INTO exceptions (tenant, class, destination, rule, code, field, sample, held, opened_at)
SELECT 'kopi', $1, id, 'look-up', $2, 'sku', 'no mapping', 6, $3 FROM destinations WHERE name = 'books' RETURNING id`, class, code, d.now)
	d.exec(`UPDATE escalations SET next_at = $2 WHERE exception = $1`, id, d.now)
	d.hold(id)
	return id
}

// hold has the exception hold a delivery of an event of the mall.
func (d *desk) hold(exception int64) {
	d.t.Helper()
	d.exec(`
WITH event AS (
  INSERT INTO events (tenant, source, id, seq, key_hash, lane, unrouted, occurred_at, type, ordering_key, outlet, content_type, payload)
  SELECT 'kopi', s.id, 'of ' || $1::bigint, $1::bigint, 1, 0, false, now(), 'order.created', 'order/1', 'mall', '', '' FROM sources s WHERE s.name = 'till' RETURNING accepted_at
), delivery AS (
  INSERT INTO deliveries (tenant, lane, destination, seq, event, event_at, key_hash, route, state, exception)
  SELECT 'kopi', 0, d.id, $1, $1, event.accepted_at, 1, 'r', 2, $1 FROM event, destinations d WHERE d.name = 'books' RETURNING destination
)
INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT $1, 0, destination, $1, 'kopi' FROM delivery`, exception)
}

// look has the worker look once, at the test's time, and gathers what is said.
func (d *desk) look() {
	d.t.Helper()
	for more := true; more; {
		var err error
		if more, err = d.worker.runOnce(d.t.Context(), &d.now); err != nil {
			d.t.Fatal(err)
		}
	}
	d.gather()
}

type letter struct {
	id, destination string
	notice          Notice
}

func (d *desk) notices() (all []letter) {
	d.t.Helper()
	rows, err := d.db.Query(d.t.Context(), `
SELECT e.id, x.name, e.payload FROM events e JOIN deliveries v ON v.event = e.seq JOIN destinations x ON x.id = v.destination
 WHERE e.type = 'raffsync.notice' ORDER BY e.seq, x.name`)
	if err != nil {
		d.t.Fatal(err)
	}
	var one letter
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&one.id, &one.destination, &payload}, func() error {
		one.notice = Notice{}
		if err := json.Unmarshal(payload, &one.notice); err != nil {
			return err
		}
		all = append(all, one)
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

func (d *desk) gather() {
	d.t.Helper()
	for _, n := range d.notices() {
		if !d.seen[n.id] {
			d.seen[n.id] = true
			d.said = append(d.said, fmt.Sprintf("%s %s: %s", d.now.In(d.zone).Format("02 15:04"), n.destination, n.notice.Subject))
		}
	}
}

// until lets the time pass: whenever something is to be looked at, it is.
func (d *desk) until(at string) {
	d.t.Helper()
	end := wall(d.t, jakarta, at)
	for {
		next := value[*time.Time](d, `SELECT min(next_at) FROM escalations`)
		if next == nil || next.After(end) {
			d.now = end
			return
		}
		if next.After(d.now) {
			d.now = *next
		}
		d.look()
		if again := value[*time.Time](d, `SELECT min(next_at) FROM escalations`); again != nil && !again.After(d.now) {
			d.t.Fatalf("at %s it wants to be looked at at %s; log: %s", d.now, again, d.logged.String())
		}
	}
}

func (d *desk) want(lines ...string) {
	d.t.Helper()
	if got, want := strings.Join(d.said, "\n"), strings.Join(lines, "\n"); got != want {
		d.t.Errorf("told\n%s\nwant\n%s", got, want)
	}
}

func (d *desk) acknowledge(exception int64, until string) {
	d.t.Helper()
	_, err := d.store.Acknowledge(d.t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.AcknowledgeRequest{
		RequestID: d.now.String(), Reason: "on it", Exception: exception, Until: wall(d.t, jakarta, until), At: d.now,
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// close ends the exception at the test's time.
func (d *desk) close(exception int64) {
	d.t.Helper()
	d.exec(`UPDATE exceptions SET status = 'RESOLVED', closed_at = $2 WHERE id = $1`, exception, d.now)
	d.exec(`UPDATE escalations SET next_at = $2 WHERE exception = $1 AND next_at IS NOT NULL`, exception, d.now)
}

// Nobody reacts, through a night and a holiday; then somebody does, and lets go of it.
func TestWorker_NobodyReacts(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	x := d.raise("SKU_UNMAPPED", "LATTE-OAT", "2027-11-24 21:45")
	d.until("2027-11-26 10:00")
	d.want(
		"24 21:45 mailto:catalogue@kopi.example: No mapping for sku LATTE-OAT",
		"26 09:15 mailto:mall@kopi.example: Belum ada yang menangani: sku LATTE-OAT belum dipetakan",
		"26 09:15 chat:env:OPS_CHAT_URL: Belum ada yang menangani: sku LATTE-OAT belum dipetakan",
	)
	d.said = nil
	d.acknowledge(x, "2027-11-26 14:00")
	d.until("2027-11-26 15:00")
	d.want() // 45 minutes had gone by before, of two hours
	d.until("2027-11-26 15:15")
	d.want(
		"26 15:15 mailto:mall@kopi.example: Masih terbuka: sku LATTE-OAT belum dipetakan",
		"26 15:15 chat:env:OPS_CHAT_URL: Masih terbuka: sku LATTE-OAT belum dipetakan",
	)
	d.said = nil
	d.now = wall(t, jakarta, "2027-11-26 15:30")
	d.close(x)
	d.until("2027-12-01 00:00")
	d.want(
		"26 15:30 mailto:catalogue@kopi.example: Over: No mapping for sku LATTE-OAT",
		"26 15:30 mailto:mall@kopi.example: Selesai: sku LATTE-OAT belum dipetakan",
		"26 15:30 chat:env:OPS_CHAT_URL: Selesai: sku LATTE-OAT belum dipetakan",
	)
	story := value[string](d, `
SELECT string_agg(what || ' ' || coalesce(actor, '-') || ': ' || reason, E'\n' ORDER BY at, entry) FROM timeline WHERE exception = $1`, x)
	if want := strings.Join([]string{
		"escalate -: level 1: team catalogue is told",
		"escalate -: level 2: team outlet is told",
		"acknowledge ayu: on it",
		"escalate -: level 2: team outlet is told again (1)",
		"escalate -: team catalogue is told that it is over",
		"escalate -: team outlet is told that it is over",
	}, "\n"); story != want {
		t.Errorf("the timeline says\n%s\nwant\n%s", story, want)
	}
}

// The clocks go back by night; the hours that the outlet is open count as they are.
func TestWorker_DaylightSaving(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *outbox.Configuration) {
		c.Outlets[0].Timezone, c.Outlets[0].Open = london, "Mon-Sun 09:00-17:00"
		c.Escalation[0].Levels[1].After = 10 * time.Hour
	})
	d.raise("SKU_UNMAPPED", "A", "2027-10-30 15:00") // 09:00 in London, that day
	d.until("2027-11-02 00:00")
	if got := d.said[1][:8]; got != "31 18:00" { // 11:00 in London, an hour later than the day before
		t.Errorf("level two came at %s; %v", got, d.said)
	}
}

func TestWorker_TenCauses(t *testing.T) {
	t.Parallel()
	t.Run("AtOnce", func(t *testing.T) {
		d := newDesk(t, nil)
		for i := range 10 {
			d.raise("SKU_UNMAPPED", fmt.Sprint("SKU-", i), "2027-11-24 10:00")
		}
		d.look()
		d.want("24 10:00 mailto:catalogue@kopi.example: 10 causes need action")
		if n := d.notices()[0].notice; n.Kind != Digest || len(n.Causes) != 10 || strings.Count(n.Text, "https://sync.kopi.example/acknowledge") != 10 {
			t.Errorf("%+v", n)
		}
	})
	t.Run("WithinAMinute", func(t *testing.T) {
		d := newDesk(t, nil)
		var all []int64
		for i := range 10 {
			all = append(all, d.raise("SKU_UNMAPPED", fmt.Sprint("SKU-", i), "2027-11-24 10:00"))
			d.now = d.now.Add(time.Duration(i) * 5 * time.Second)
			d.look()
		}
		d.until("2027-11-24 10:05")
		d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku SKU-0", "24 10:01 mailto:catalogue@kopi.example: 9 causes need action")
		for _, x := range all {
			d.close(x)
		}
		d.look()
		if got, want := d.said[len(d.said)-1], "24 10:05 mailto:catalogue@kopi.example: 10 are over"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("OverBeforeTheDigest", func(t *testing.T) {
		d := newDesk(t, nil)
		d.raise("SKU_UNMAPPED", "FIRST", "2027-11-24 10:00")
		d.look()
		second := d.raise("SKU_UNMAPPED", "SECOND", "2027-11-24 10:00")
		d.look()
		d.close(second)
		d.until("2027-11-24 10:20")
		d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku FIRST") // nobody was told of it
	})
}

// What becomes urgent waits for no hours.
func TestWorker_BecomesUrgent(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	x := d.raise("SKU_UNMAPPED", "A", "2027-11-24 21:50")
	d.until("2027-11-24 23:00")
	d.exec(`UPDATE exceptions SET held = 101 WHERE id = $1`, x)
	d.until("2027-11-24 23:05")
	if len(d.said) != 3 || !strings.HasPrefix(d.said[1], "24 23:00") && !strings.HasPrefix(d.said[1], "24 23:01") {
		t.Errorf("%v", d.said)
	}
}

func TestWorker_NobodyIsTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *outbox.Configuration) { c.Escalation[0].When = `class != "VALIDATION"` })
	d.raise("VALIDATION", "none matches", "2027-11-24 10:00")
	d.raise(outbox.ClassNoticeFailed, "of its own", "2027-11-24 10:00")
	late := d.raise("SKU_UNMAPPED", "at an address", "2027-11-24 10:00")
	d.exec(`UPDATE exceptions SET destination = (SELECT id FROM destinations WHERE name = 'mailto:mall@kopi.example') WHERE id = $1`, late)
	d.until("2027-11-25 10:00")
	d.want()
	if n := value[int](d, `SELECT count(*) FROM escalations WHERE next_at IS NOT NULL`); n != 0 {
		t.Errorf("%d are looked at again", n)
	}
}

// A policy that was changed is that of later exceptions; addresses are today's.
func TestWorker_PolicyIsCopied(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.raise("SKU_UNMAPPED", "A", "2027-11-24 10:00")
	d.look()
	d.apply(func(c *outbox.Configuration) {
		c.Escalation[0].Levels = []outbox.LevelConfig{{Team: "catalogue", After: 5 * time.Hour}}
		c.Teams[1].Notify = []outbox.AddressConfig{mailbox("new@kopi.example")}
	})
	d.until("2027-11-24 10:31")
	d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku A",
		"24 10:30 mailto:new@kopi.example: Belum ada yang menangani: sku A belum dipetakan")
	d.apply(func(c *outbox.Configuration) {
		c.Teams, c.Escalation[0].Levels = c.Teams[:1], []outbox.LevelConfig{{Team: "catalogue"}}
	})
	d.until("2027-11-24 12:31")
	if reason := value[string](d, `SELECT reason FROM timeline WHERE what = 'escalate' ORDER BY at DESC, entry DESC LIMIT 1`); !strings.Contains(reason, "has no address") {
		t.Errorf("a team that is gone: %s", reason)
	}
}

// What cannot be looked at stops nothing else, and is not lost.
func TestWorker_BadRow(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	bad := d.raise("SKU_UNMAPPED", "BAD", "2027-11-24 10:00")
	d.exec(`UPDATE escalations SET policy = '{"levels": "none"}' WHERE exception = $1`, bad)
	d.raise("SKU_UNMAPPED", "GOOD", "2027-11-24 10:00")
	d.look()
	d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku GOOD")
	if !strings.Contains(d.logged.String(), "policy cannot be read") {
		t.Errorf("the log says\n%s", d.logged.String())
	}
	d.exec(`UPDATE escalations SET policy = NULL WHERE exception = $1`, bad)
	d.until("2027-11-24 10:02")
	if len(d.said) != 2 || !strings.HasSuffix(d.said[1], "No mapping for sku BAD") {
		t.Errorf("%v", d.said)
	}
}

func TestWorker_Reopened(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	x := d.raise("SKU_UNMAPPED", "A", "2027-11-24 10:00")
	d.look()
	d.close(x)
	d.now = d.now.Add(2 * time.Minute)
	d.look()
	d.exec(`UPDATE exceptions SET status = 'NEEDS_ACTION', closed_at = NULL WHERE id = $1`, x)
	d.exec(`UPDATE escalations SET from_at = $2, repeated_at = $2, next_at = $2 WHERE exception = $1`, x, d.now)
	d.now = d.now.Add(2 * time.Minute)
	d.look()
	d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku A", "24 10:02 mailto:catalogue@kopi.example: Over: No mapping for sku A",
		"24 10:04 mailto:catalogue@kopi.example: No mapping for sku A")
}

func TestWorker_TemplateFails(t *testing.T) {
	t.Parallel()
	// It works on the sample, and not on this.
	const own = `{{range .Causes}}{{if eq .Class "SKU_UNMAPPED"}}{{index .Title 10000}}{{end}}{{end}}`
	if err := CheckTemplate(own); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, func(c *outbox.Configuration) { c.Teams[0].Template = own })
	d.raise("SKU_UNMAPPED", "A", "2027-11-24 10:00")
	d.look()
	if text := d.notices()[0].notice.Text; !strings.Contains(text, "Next step: Add the entry") {
		t.Errorf("the text is %q", text)
	}
	if !strings.Contains(d.logged.String(), "template fails") {
		t.Errorf("the log says\n%s", d.logged.String())
	}
}

// Two workers at once, one of which dies between its decision and its commit: each level
// is told once.
func TestWorker_OneIsKilled(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for i := range 20 {
		d.raise("SKU_UNMAPPED", fmt.Sprint("SKU-", i), "2027-11-24 10:00")
	}
	var once sync.Once
	decided, killed := make(chan struct{}), make(chan struct{})
	doomed := d.newWorker(func() string {
		once.Do(func() { close(decided) })
		<-killed
		return "https://link"
	})
	ended := make(chan error)
	at := d.now
	go func() {
		_, err := doomed.runOnce(context.WithoutCancel(t.Context()), &at)
		ended <- err
	}()
	<-decided
	d.look() // passes over what the other holds
	d.want()
	if n := value[int](d, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'raffsync ingest' AND state = 'idle in transaction'`); n != 1 {
		t.Fatalf("%d sessions were ended", n)
	}
	close(killed)
	if err := <-ended; err == nil {
		t.Fatal("the killed worker noticed nothing")
	}
	d.look()
	d.want("24 10:00 mailto:catalogue@kopi.example: 20 causes need action")
	if again, err := doomed.runOnce(t.Context(), &at); err != nil || again {
		t.Errorf("it goes on with a new session: %t, %v", again, err)
	}
	d.gather()
	if len(d.said) != 1 {
		t.Errorf("%v", d.said)
	}
}

func TestWorker_TwoAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *outbox.Configuration) {
		for i := range 20 {
			name := fmt.Sprint("team", i)
			c.Teams = append(c.Teams, outbox.TeamConfig{Name: name, Language: "en", Notify: []outbox.AddressConfig{mailbox(name + "@kopi.example")}})
			c.Escalation = slices.Insert(c.Escalation, 0, outbox.EscalationConfig{
				When: fmt.Sprintf(`class == "C%d"`, i), Clock: outbox.ClockAlways, Levels: []outbox.LevelConfig{{Team: name}, {Team: "catalogue", After: time.Hour}},
			})
		}
	})
	for i := range 20 {
		for j := range 5 {
			d.raise(fmt.Sprint("C", i), fmt.Sprint(j), "2027-11-24 10:00")
		}
	}
	workers := []*Worker{d.worker, d.newWorker(nil), d.newWorker(nil)}
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() {
			at := d.now
			for range 200 {
				if _, err := w.runOnce(t.Context(), &at); err != nil {
					t.Error(err)
				}
				if at = at.Add(time.Minute); at.After(d.now.Add(10 * time.Minute)) {
					return
				}
			}
		})
	}
	all.Wait()
	told := map[int64]int{}
	for _, n := range d.notices() {
		for _, c := range n.notice.Causes {
			told[c.Exception]++
		}
	}
	for id, n := range told {
		if n != 1 {
			t.Errorf("exception %d was told %d times", id, n)
		}
	}
	if len(told) != 100 {
		t.Errorf("%d of 100 were told", len(told))
	}
}

func TestSQL(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), outboxtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for name, sql := range map[string]string{
		"claim": claimSQL, "read": readSQL, "outlet": outletSQL, "save": saveSQL, "postpone": postponeSQL, "wait": waitSQL,
		"team": teamSQL, "told": toldSQL, "audit": auditSQL,
	} {
		if _, err := conn.Prepare(t.Context(), name, sql); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
