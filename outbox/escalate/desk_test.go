package escalate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
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
		Acknowledge: func(l Link) string {
			if acknowledge != nil {
				return acknowledge()
			}
			return fmt.Sprintf("%s/acknowledge?t=%s-%d-%s&for=%s&until=%s", l.Base, l.Tenant, l.Exception, l.Address, l.For, l.Expires.UTC().Format(time.RFC3339))
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

// close ends the exception at the test's time.
func (d *desk) close(exception int64) {
	d.t.Helper()
	d.exec(`UPDATE exceptions SET status = 'RESOLVED', closed_at = $2 WHERE id = $1`, exception, d.now)
	d.exec(`UPDATE escalations SET next_at = $2 WHERE exception = $1 AND next_at IS NOT NULL`, exception, d.now)
}
