package outbox_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// as runs a statement under a role, for a tenant where one is given, and takes back
// what it did. It returns the SQLSTATE, empty where it went through.
func (s *shop) as(role, tenant, sql string, arguments ...any) (state string, rows int64) {
	s.t.Helper()
	tx, err := s.db.Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer tx.Rollback(s.t.Context())
	if role != "" {
		if _, err := tx.Exec(s.t.Context(), `SET LOCAL ROLE `+pgx.Identifier{role}.Sanitize()); err != nil {
			s.t.Fatal(err)
		}
	}
	if tenant != "" {
		if _, err := tx.Exec(s.t.Context(), `SELECT set_config('raffsync.tenant', $1, true)`, tenant); err != nil {
			s.t.Fatal(err)
		}
	}
	tag, err := tx.Exec(s.t.Context(), sql, arguments...)
	if pg := (*pgconn.PgError)(nil); err != nil {
		if !asPg(err, &pg) {
			s.t.Fatal(err)
		}
		return pg.Code, 0
	}
	return "", tag.RowsAffected()
}

const (
	denied     = "42501"
	appendOnly = "RS003"
)

// The timeline and the events, which are its beginning, refuse UPDATE, DELETE and TRUNCATE,
// of the whole and of any partition, whoever asks.
func TestTimeline_IsAppendOnly(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	s.append(s.writer(), s.entry("e1", "order/1", "books"))
	s.exec(`SELECT raffsync_ensure_partitions(now(), now() + interval '1 year')`) // those of later are guarded too
	for _, whole := range []string{"timeline", "events"} {
		tables := append(column[string](s, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '`+whole+`'::regclass`), whole)
		if len(tables) < 12 {
			t.Fatalf("tables %v, want a year of them", tables)
		}
		filled := one[string](s, `SELECT DISTINCT tableoid::regclass::text FROM `+whole)
		for _, table := range tables {
			for _, sql := range []string{`UPDATE %s SET tenant = 'another'`, `DELETE FROM %s`, `TRUNCATE %s`} {
				sql = fmt.Sprintf(sql, table)
				for _, role := range []string{"raffsync_engine", "raffsync_api", "raffsync_analytics"} {
					if state, _ := s.as(role, "kopi", sql); state != denied {
						t.Errorf("%s as %s: %q, want that it is denied", sql, role, state)
					}
				}
				state, _ := s.as("", "", sql) // the owner, a superuser here
				empty := table != filled && table != whole && sql[0] != 'T'
				if empty && state != "" || !empty && state != appendOnly {
					t.Errorf("%s as the owner: %q", sql, state)
				}
			}
		}
		if n := one[int](s, `SELECT count(*) FROM `+whole); n == 0 {
			t.Errorf("%s is empty", whole)
		}
	}
}

// What has happened stays: the engine adds, and changes nothing of it.
func TestGrants_OfTheEngine(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	s.append(s.writer(), s.entry("e1", "order/1", "books"))
	for _, table := range []string{"events", "event_ids", "event_references", "timeline", "configuration"} {
		for _, sql := range []string{`UPDATE %s SET tenant = tenant`, `DELETE FROM %s`, `TRUNCATE %s`, `DROP TABLE %s`, `ALTER TABLE %s DISABLE TRIGGER ALL`} {
			if state, _ := s.as("raffsync_engine", "", fmt.Sprintf(sql, table)); state != denied {
				t.Errorf(sql+": %q, want that it is denied", table, state)
			}
		}
	}
	if state, _ := s.as("raffsync_engine", "", `CREATE TABLE mine (x int)`); state != denied {
		t.Errorf("it makes tables: %q", state)
	}
}

// Neither the API nor analysts get at credentials, leases or the engine's own tables.
func TestGrants_OfReaders(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	privileges := func(role string) map[string]string {
		t.Helper()
		rows, err := s.db.Query(t.Context(), `
SELECT table_name::text, string_agg(privilege_type::text, ' ' ORDER BY privilege_type) FROM information_schema.role_table_grants
 WHERE grantee = $1 AND table_schema = 'public' GROUP BY table_name`, role)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		var table, granted string
		if _, err := pgx.ForEachRow(rows, []any{&table, &granted}, func() error { got[table] = granted; return nil }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff(map[string]string{
		"accepted": "SELECT", "breakers": "SELECT", "configuration": "SELECT", "configuration_use": "SELECT", "processes": "SELECT", "conflicts": "SELECT", "controls": "DELETE INSERT SELECT UPDATE", "day_marks": "SELECT", "deliveries": "DELETE SELECT UPDATE", "destinations": "SELECT", "due": "INSERT SELECT", "effect_waits": "DELETE SELECT", "edits": "INSERT SELECT", "effects": "INSERT SELECT", "escalations": "SELECT UPDATE",
		"event_ids": "SELECT", "event_references": "SELECT", "events": "SELECT", "exceptions": "SELECT UPDATE", "exposures": "DELETE SELECT UPDATE", "held_outlets": "SELECT UPDATE", "holds": "DELETE SELECT UPDATE",
		"installation": "SELECT", "intents": "SELECT", "job_failures": "INSERT SELECT", "job_members": "DELETE INSERT SELECT", "jobs": "INSERT SELECT UPDATE", "late": "SELECT", "operator_requests": "INSERT SELECT", "paces": "SELECT", "quarantined": "SELECT", "releases": "DELETE INSERT SELECT", "replays": "INSERT SELECT UPDATE", "shares": "SELECT", "sources": "SELECT", "tallies": "INSERT SELECT UPDATE", "team_notices": "SELECT", "throttles": "SELECT", "timeline": "INSERT SELECT",
		"mapping_changes": "INSERT SELECT", "mapping_entries": "DELETE INSERT SELECT UPDATE", "mapping_history": "INSERT SELECT", "mapping_tables": "INSERT SELECT UPDATE", "mapping_used": "SELECT", "mapping_versions": "INSERT SELECT UPDATE", "shadow_findings": "DELETE SELECT", "snapshots": "INSERT SELECT UPDATE",
	}, privileges("raffsync_api")); diff != "" {
		t.Errorf("of the API (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{
		"accepted": "SELECT", "audit": "SELECT", "controls": "SELECT", "deliveries": "SELECT", "destinations": "SELECT", "edits": "SELECT", "effects": "SELECT", "escalations": "SELECT", "job_failures": "SELECT", "jobs": "SELECT", "team_notices": "SELECT", "event_references": "SELECT", "events": "SELECT", "exceptions": "SELECT", "exposures": "SELECT", "held_outlets": "SELECT", "holds": "SELECT", "late": "SELECT",
		"replays": "SELECT", "sources": "SELECT", "tallies": "SELECT", "timeline": "SELECT",
		"mapping_changes": "SELECT", "mapping_entries": "SELECT", "mapping_history": "SELECT", "mapping_tables": "SELECT", "mapping_used": "SELECT", "mapping_versions": "SELECT", "shadow_findings": "SELECT",
	}, privileges("raffsync_analytics")); diff != "" {
		t.Errorf("of analysts (-want +got):\n%s", diff)
	}
	for _, role := range []string{"raffsync_api", "raffsync_analytics"} {
		for _, sql := range []string{`SELECT raffsync_ensure_partitions(now(), now())`, `SELECT raffsync_fence(1, '{}', '{}')`} {
			if state, _ := s.as(role, "kopi", sql); state != denied {
				t.Errorf("%s as %s: %q, want that it is denied", sql, role, state)
			}
		}
	}
}
