package outbox_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"raffsync/outbox"
)

func asPg(err error, pg **pgconn.PgError) bool { return errors.As(err, pg) }

// ofTenants are the tables with a tenant's name in their rows.
const ofTenants = `
SELECT c.table_name::text FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
 WHERE c.table_schema = 'public' AND c.column_name = 'tenant' AND t.table_type = 'BASE TABLE' ORDER BY 1`

// A table that holds tenants' rows and forgets row-level security fails here.
func TestIsolation_EveryTableForcesRowSecurity(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	tables := column[string](s, ofTenants)
	if len(tables) < 16 {
		t.Fatalf("only %v were found", tables)
	}
	for _, table := range tables {
		if !one[bool](s, `SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = $1::regclass`, table) {
			t.Errorf("%s does not force row-level security", table)
		}
	}
	if n := one[int](s, `SELECT count(*) FROM pg_roles WHERE rolname = 'raffsync_api' AND (rolbypassrls OR rolsuper)`); n != 0 {
		t.Error("the API's role goes past row-level security")
	}
}

// fill puts something of both tenants into every table that the API may read.
func fill(s *shop) {
	s.t.Helper()
	teh := s.apply(configuration("teh", "books"))
	d := s.dispatcher()
	w := s.writer()
	for _, tenant := range []string{"kopi", "teh"} {
		first := s.entry("held "+tenant, "order/1", "books")
		first.Event.References = map[string]string{"order": "1042"}
		waits := s.entry("waits "+tenant, "order/2", "books")
		for _, e := range []*outbox.Entry{&first, &waits} {
			if tenant == "teh" {
				e.Event.Tenant, e.Event.Source = "teh", teh.Names.Sources["till"]
				e.Targets[0].Destination = teh.Names.Destinations["books"]
			}
		}
		conflict := first
		conflict.Event.Type = "order.paid"
		quarantined := s.quarantined("q", "EVENT_ID")
		quarantined.Event.Tenant, quarantined.Event.Source = first.Event.Tenant, first.Event.Source
		s.append(w, first, waits, conflict, quarantined)
		if err := d.StoreBreaker(s.t.Context(), outbox.BreakerRow{Tenant: tenant, Destination: first.Targets[0].Destination, State: "OPEN", Reason: "down"}); err != nil {
			s.t.Fatal(err)
		}
	}
	rows, err := s.db.Query(s.t.Context(), `SELECT d.lane, d.destination, d.seq, d.event, d.event_at, d.accepted_at, d.key_hash, d.tenant, d.version, e.id LIKE 'held%' AS held FROM deliveries d JOIN events e ON e.seq = d.event`)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []outbox.Transition
	o, held := outbox.Delivery{}, false
	_, err = pgx.ForEachRow(rows, []any{&o.Lane, &o.Destination, &o.Seq, &o.Event, &o.EventAt, &o.AcceptedAt, &o.KeyHash, &o.Tenant, &o.Version, &held}, func() error {
		if one := o; held {
			all = append(all, attempt(&one, outbox.StateNeedsAction))
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	d.finish(all...)
	for _, t := range all {
		t.Version++
		q := request(t.Delivery, "wrong version, so nothing is stored")
		q.ExpectedVersion = 99
		if _, err := s.Retry(s.t.Context(), outbox.Actor{Tenant: t.Tenant, Name: "x"}, q); !errors.Is(err, outbox.ErrConflict) {
			s.t.Fatal(err)
		}
	}
	p, err := s.NewProcess(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := p.Report(s.t.Context(), []outbox.Use{{Tenant: "kopi", Version: 1}, {Tenant: "teh", Version: 1}}, true); err != nil {
		s.t.Fatal(err)
	}
	s.exec(`INSERT INTO releases (exception, tenant, reason) VALUES (1, 'kopi', 'r'), (2, 'teh', 'r')`)
	for _, tenant := range []string{"kopi", "teh"} {
		q := outbox.SetMappings{
			MappingRequest: outbox.MappingRequest{RequestID: "mapping", Reason: "new item"}, Table: outbox.MappingTable{Name: "sku"},
			Entries: []outbox.MappingPair{{Value: "LATTE", Target: "of " + tenant}},
		}
		if _, err := s.SetMappings(s.t.Context(), outbox.Actor{Tenant: tenant, Name: "x"}, q); err != nil {
			s.t.Fatal(err)
		}
	}
	s.exec(`INSERT INTO effects (tenant, destination, effect) SELECT tenant, id, 'order/1' FROM destinations`)
	s.exec(`INSERT INTO effect_waits (tenant, destination, effect, lane, seq, key_hash) SELECT tenant, destination, 'order/1', lane, seq, key_hash FROM deliveries`)
	s.exec(`INSERT INTO exposures (exception, currency, tenant, deliveries) SELECT 1, tenant, tenant, 1 FROM deliveries ON CONFLICT DO NOTHING`)
	s.exec(`INSERT INTO day_marks (tenant, day, accepted, delivered) VALUES ('kopi', now(), 1, 1), ('teh', now(), 1, 1)`)
	s.exec(`INSERT INTO paces (destination, tenant, at, ended, before_at, before) SELECT id, tenant, now(), 1, now(), 1 FROM destinations`)
	s.exec(`INSERT INTO held_outlets (exception, outlet, tenant, held) SELECT 1, tenant, tenant, 1 FROM deliveries ON CONFLICT DO NOTHING`)
	s.exec(`INSERT INTO shadow_findings (tenant, route, destination, prospect, seen, event, event_at) SELECT tenant, 'r', id, 'SEND', 1, 1, now() FROM destinations`)
	s.exec(`INSERT INTO mapping_uses (tenant, name, value, destination, at, event, event_at, replay, attempt, step, shared, fallback, version, target, route) SELECT tenant, 'sku', 'TEA', id, now(), 1, now(), 0, 1, 0, true, false, 1, 'T', 'r' FROM destinations`)
	s.exec(`INSERT INTO snapshots (lane, destination, route, ordering_key, tenant, kind, number, text, event) SELECT lane, destination, route, 'k', tenant, 1, 1, '', 'e' FROM deliveries`)
	s.exec(`INSERT INTO late (exception, lane, destination, seq, tenant) SELECT 1, lane, destination, seq, tenant FROM deliveries`)
	s.exec(`INSERT INTO replays (tenant, request_id, digest, destination, from_at, until_at, rate, after_at, actor, reason) SELECT t, 'r', '', 1, now(), now(), 1, now(), 'a', 'r' FROM unnest(ARRAY['kopi', 'teh']) AS t`)
	s.exec(`INSERT INTO jobs (tenant, request_id, digest, action, filter, rate, actor, reason) VALUES ('kopi', 'r', '', 'SKIP', '{}', 1, 'a', 'r'), ('teh', 'r', '', 'SKIP', '{}', 1, 'a', 'r')`)
	s.exec(`INSERT INTO edits (tenant, event, event_at, destination, replay, changes, state, second, actor, reason) SELECT tenant, event, event_at, destination, replay, '[]', 'PENDING', true, 'a', 'r' FROM deliveries`)
	s.exec(`INSERT INTO job_members (tenant, job, lane, destination, seq, event, event_at, replay, version) SELECT tenant, 1, lane, destination, seq, event, event_at, replay, version FROM deliveries`)
	s.exec(`INSERT INTO job_failures (tenant, job, event, event_at, destination, replay, reason) SELECT tenant, 1, event, event_at, destination, replay, 'r' FROM deliveries`)
	s.exec(`INSERT INTO operator_requests (tenant, request_id, digest, answer) VALUES ('kopi', 'r', '', '{}'), ('teh', 'r', '', '{}')`)
	s.exec(`INSERT INTO connections (tenant, destination) SELECT tenant, id FROM destinations`)
	s.exec(`INSERT INTO team_notices (tenant, team, told_at) VALUES ('kopi', 'ops', now()), ('teh', 'ops', now())`)
	s.exec(`INSERT INTO throttles (destination, tenant) SELECT id, tenant FROM destinations`)
	s.exec(`INSERT INTO shares (destination, replica, tenant, slots, wanted, busy) SELECT id, 1, tenant, 1, 1, false FROM destinations`)
	s.exec(`INSERT INTO controls (tenant, kind, name, state, reason, actor) VALUES ('kopi', 'source', 'till', 'PAUSED', 'r', 'a'), ('teh', 'source', 'till', 'PAUSED', 'r', 'a')`)
}

func TestIsolation_TheAPISeesItsTenantOnly(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	fill(s)
	for _, table := range column[string](s, ofTenants) {
		if readable := one[bool](s, `SELECT has_column_privilege('raffsync_api', $1, 'tenant', 'SELECT')`, table); !readable {
			if state, _ := s.as("raffsync_api", "kopi", `SELECT tenant FROM `+table); state != denied {
				t.Errorf("%s: %q, want that it is denied", table, state)
			}
			continue
		}
		per := make(map[string]int)
		for _, tenant := range []string{"kopi", "teh"} {
			per[tenant] = one[int](s, fmt.Sprintf(`SELECT count(*) FROM %s WHERE tenant = $1`, table), tenant)
			if per[tenant] == 0 {
				t.Errorf("%s: nothing of %s is there to be hidden", table, tenant)
			}
		}
		for _, tenant := range []string{"kopi", "teh", "susu", ""} {
			if state, n := s.as("raffsync_api", tenant, `SELECT tenant FROM `+table); state != "" || n != int64(per[tenant]) {
				t.Errorf("%s as %q: %d rows (%s), want %d", table, tenant, n, state, per[tenant])
			}
		}
		// Nor does it write into another's.
		for privilege, sql := range map[string]string{"UPDATE": `UPDATE %s SET tenant = tenant WHERE tenant = 'teh'`, "DELETE": `DELETE FROM %s WHERE tenant = 'teh'`} {
			if may := one[bool](s, `SELECT has_table_privilege('raffsync_api', $1, $2)`, table, privilege); !may {
				continue
			}
			if _, n := s.as("raffsync_api", "kopi", fmt.Sprintf(sql, table)); n != 0 {
				t.Errorf("%s: %d rows of another tenant were touched by %s", table, n, privilege)
			}
		}
	}
	for _, sql := range []string{
		`INSERT INTO timeline (tenant, what) VALUES ('teh', 'key')`, `INSERT INTO operator_requests (tenant, request_id, digest, answer) VALUES ('teh', 'x', '', '{}')`,
		`INSERT INTO tallies (tenant, destination, shard) VALUES ('teh', 0, 0)`, `UPDATE exceptions SET tenant = 'teh'`,
	} {
		if state, _ := s.as("raffsync_api", "kopi", sql); state != denied {
			t.Errorf("%s: %q, want that it is denied", sql, state)
		}
	}
}

// The tenth of the ten bugs: nothing of a tenant stays with a pooled session.
func TestIsolation_LeavesNothingInThePool(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	a := d.deliveryOf("e1", "order/1", "books")
	s.skip(a, "request 1")
	stranger := outbox.Actor{Tenant: "teh", Name: "budi"}
	if _, err := s.Retry(t.Context(), stranger, request(a, "request 2")); !errors.Is(err, outbox.ErrNotFound) {
		t.Fatal(err)
	}
	for range 40 { // more than there are sessions
		var tenant string
		var visible int
		if err := s.API().QueryRow(t.Context(), `SELECT coalesce(current_setting('raffsync.tenant', true), ''), (SELECT count(*) FROM events)`).Scan(&tenant, &visible); err != nil {
			t.Fatal(err)
		}
		if tenant != "" || visible != 0 {
			t.Fatalf("a session of the pool is of tenant %q, and sees %d events", tenant, visible)
		}
	}
}
