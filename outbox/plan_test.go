package outbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox"
)

// large are the tables that grow with history or with a backlog; their partitions
// begin with the name.
var large = []string{"deliveries", "due", "events", "event_ids", "event_references", "timeline", "exceptions", "escalations", "holds", "late", "effects", "effect_waits", "conflicts", "quarantined", "operator_requests"}

const seedLargeSQL = `
INSERT INTO destinations (tenant, name) VALUES ('kopi', 'stock');
INSERT INTO events (tenant, seq, key_hash, source, lane, unrouted, occurred_at, id, type, ordering_key, outlet, content_type, payload)
SELECT 'kopi', (1::bigint << 40) + g, hashint8extended(g % 5000, 7), 1, abs(hashint8extended(g % 5000, 7) % 64), false, now(), 'e' || g, 'order.created', 'order/' || g % 5000, '', 'application/json', '\x7b7d'
  FROM generate_series(1, 100000) g;
INSERT INTO event_ids (tenant, source, id, hash, seq, accepted_at) SELECT tenant, source, id, '\x00', seq, accepted_at FROM events;
INSERT INTO event_references (tenant, value, accepted_at, seq, name) SELECT tenant, 'INV-' || seq % 30000, accepted_at, seq, 'invoice' FROM events;
INSERT INTO deliveries (seq, event, event_at, accepted_at, key_hash, due_at, exception, destination, lane, state, tenant, route)
SELECT seq, seq, accepted_at, accepted_at, key_hash, CASE WHEN seq % 10 = 1 THEN now() + interval '1 minute' END, CASE WHEN seq % 10 = 2 THEN 1 + seq % 50 END,
       d.id, lane, CASE seq % 10 WHEN 1 THEN 1 WHEN 2 THEN 2 ELSE 0 END, e.tenant, 'sales'
  FROM events e, destinations d;
INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, due_at, seq, key_hash FROM deliveries WHERE state = 1;
INSERT INTO exceptions (tenant, class, destination, rule, field, code, looked_up, status, closed_at)
SELECT 'kopi', 'SKU_UNMAPPED', 1, 'look-up', 'table' || g % 100, g::text, g::text, CASE WHEN g % 2 = 0 THEN 'NEEDS_ACTION' ELSE 'RESOLVED' END, CASE WHEN g % 2 = 1 THEN now() END FROM generate_series(1, 20000) g;
INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT exception, lane, destination, seq, tenant FROM deliveries WHERE exception IS NOT NULL;
INSERT INTO late (exception, lane, destination, seq, tenant) SELECT 1, lane, destination, seq, tenant FROM deliveries WHERE seq % 2 = 0;
INSERT INTO conflicts (tenant, source, id, hash, first_seq, first_at, exception, occurred_at, type, ordering_key, outlet, content_type, payload)
SELECT tenant, source, id, '\x01', seq, accepted_at, 1, now(), type, ordering_key, outlet, content_type, payload FROM events WHERE seq % 10 = 0;
INSERT INTO quarantined (tenant, source, id, exception, code, reason, content_type, query, body_bytes, body_sha256, body)
SELECT 'kopi', 1, 'q' || g, 1 + g % 50, 'EVENT_ID', '', '', '', 0, '', '' FROM generate_series(1, 20000) g;
INSERT INTO operator_requests (tenant, request_id, digest, answer) SELECT 'kopi', 'r' || g, '', '{}' FROM generate_series(1, 20000) g;
INSERT INTO effects (tenant, destination, effect, lane, seq, claimed_at, revision, at)
SELECT tenant, destination, 'order/' || seq, CASE WHEN seq % 10 = 1 THEN lane END, CASE WHEN seq % 10 = 1 THEN seq END, CASE WHEN seq % 10 = 1 THEN now() END, seq % 2, CASE WHEN seq % 2 = 1 THEN now() END FROM deliveries;
INSERT INTO effect_waits (tenant, destination, effect, lane, seq, key_hash) SELECT tenant, destination, 'order/' || seq % 30000, lane, seq, key_hash FROM deliveries;
INSERT INTO intents (replica, batch, lanes, destinations, seqs, steps, attempts, revisions)
SELECT 1, g, ARRAY[lane], ARRAY[destination], ARRAY[seq], ARRAY[0::smallint], ARRAY[1], ARRAY[0::smallint] FROM (SELECT row_number() OVER () AS g, * FROM deliveries LIMIT 100) d;
ANALYZE`

// node is a node of a plan.
type node struct {
	Type      string `json:"Node Type"`
	Relation  string `json:"Relation Name"`
	Index     string `json:"Index Name"`
	IndexCond string `json:"Index Cond"`
	TIDCond   string `json:"TID Cond"`
	Operation string
	Plans     []node
}

func (n *node) walk(f func(*node)) {
	f(n)
	for i := range n.Plans {
		n.Plans[i].walk(f)
	}
}

// isLarge tells whether it reads a table that grows.
func (n *node) isLarge() bool {
	return slices.ContainsFunc(large, func(table string) bool {
		rest, found := strings.CutPrefix(n.Relation, table)
		return found && n.Type != "ModifyTable" && (rest == "" || strings.HasPrefix(rest, "_2"))
	})
}

// planOf is the plan that serves whatever the arguments are.
func planOf(t *testing.T, conn *pgx.Conn, name, sql string) *node {
	t.Helper()
	description, err := conn.Prepare(t.Context(), name, sql)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	arguments := strings.TrimSuffix(strings.Repeat("NULL,", len(description.ParamOIDs)), ",")
	if arguments != "" {
		arguments = "(" + arguments + ")"
	}
	var text []byte
	if err := conn.QueryRow(t.Context(), fmt.Sprintf(`EXPLAIN (FORMAT JSON, COSTS OFF) EXECUTE %s%s`, pgx.Identifier{name}.Sanitize(), arguments), pgx.QueryExecModeSimpleProtocol).Scan(&text); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var explained []struct{ Plan node }
	if err := json.Unmarshal(text, &explained); err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		t.Logf("%s: %s", name, text)
	}
	return &explained[0].Plan
}

func (s *shop) session(role string, settings map[string]string) *pgx.Conn {
	s.t.Helper()
	config, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	maps.Copy(config.RuntimeParams, settings)
	config.RuntimeParams["role"] = role
	config.RuntimeParams["jit"] = "off"
	conn, err := pgx.ConnectConfig(s.t.Context(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestPlans(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	s.exec(seedLargeSQL)
	sql := statements(t)

	// Whatever a statement reads of a large table, it finds by an index, for each of the
	// rows that it was given.
	bySearch := func(t *testing.T, name string, plan *node) {
		t.Helper()
		plan.walk(func(n *node) {
			if n.isLarge() && n.TIDCond == "" && (n.Type != "Index Scan" && n.Type != "Index Only Scan" || n.IndexCond == "") {
				t.Errorf("%s: a %s of %s by %s (%s)", name, n.Type, n.Relation, n.Index, n.IndexCond)
			}
		})
	}

	// Of what an index is searched by, that which keeps a search from reading on through
	// everything that waits.
	whereItEnds := map[string]string{"readSQL": "seq > p.after", "lineSQL": "ROW(accepted_at, seq) >", "anyDueSQL": "at <= now()", "dueSQL": "at <= now()"}
	t.Run("OfTheDispatcher", func(t *testing.T) {
		conn := s.session("raffsync_engine", outbox.DispatchSettings)
		for _, name := range []string{
			"readSQL", "lineSQL", "anyDueSQL", "dueSQL", "loadSQL", "intendSQL", "orphansSQL", "deliveredSQL", "deliveredElsewhereSQL", "waitingSQL", "matchSQL", "raiseSQL", "holdSQL", "unheldSQL", "unholdPageSQL", "freeSQL", "pruneSQL", "writersSQL", "storeBreakerSQL",
		} {
			plan := planOf(t, conn, name, sql[name])
			bySearch(t, name, plan)
			ends := whereItEnds[name]
			found := ends == ""
			plan.walk(func(n *node) {
				if n.Type == "Hash Join" || n.Type == "Merge Join" {
					t.Errorf("%s: a %s", name, n.Type)
				}
				found = found || n.isLarge() && strings.Contains(n.IndexCond, ends)
			})
			if !found {
				t.Errorf("%s: no search in an index ends by %q", name, ends)
			}
		}
	})

	// Plans are made when a replica starts, which may be before there is anything. An
	// index that is searched without its leading columns is read from end to end, for
	// each of the rows.
	t.Run("OfTheDispatcherWhereAllIsEmpty", func(t *testing.T) {
		conn := newShop(t, "books").session("raffsync_engine", outbox.DispatchSettings)
		for _, name := range []string{"readSQL", "lineSQL", "anyDueSQL", "dueSQL", "loadSQL", "intendSQL", "deliveredSQL", "deliveredElsewhereSQL", "waitingSQL", "matchSQL", "holdSQL", "unholdPageSQL", "freeSQL"} {
			planOf(t, conn, name, sql[name]).walk(func(n *node) {
				if n.isLarge() && strings.Contains(n.Index, "_key") && !strings.HasSuffix(n.Index, "_pkey") && !strings.Contains(n.IndexCond, "key_hash = ") {
					t.Errorf("%s: %s is searched without the key: %s", name, n.Index, n.IndexCond)
				}
			})
		}
	})

	t.Run("OfIngest", func(t *testing.T) {
		conn := s.session("raffsync_engine", outbox.WriterSettings)
		for _, name := range []string{"appendSQL", "classifySQL", "countDuplicatesSQL", "conflictCauseSQL", "keepConflictsSQL", "replayEventsSQL", "makeReplaySQL"} {
			bySearch(t, name, planOf(t, conn, name, sql[name]))
		}
		// Arrays of thousands are joined to each other.
		planOf(t, conn, "append", sql["appendSQL"]).walk(func(n *node) {
			if n.Type == "Nested Loop" || n.Type == "Merge Join" {
				t.Errorf("appendSQL: a %s", n.Type)
			}
		})
	})

	t.Run("OfOperators", func(t *testing.T) {
		conn := s.session("raffsync_api", map[string]string{"plan_cache_mode": "force_generic_plan"})
		for _, name := range []string{"eventLaneSQL", "operandSQL", "retrySQL", "skipSQL", "offHoldSQL", "unheldSQL", "answeredSQL", "countOperatedSQL"} {
			bySearch(t, name, planOf(t, conn, name, sql[name]))
		}
		// Of a table's causes it may take all there are, in any order.
		planOf(t, conn, "release", sql["releaseAnsweredSQL"]).walk(func(n *node) {
			if n.isLarge() && n.Type == "Seq Scan" {
				t.Errorf("releaseAnsweredSQL: a %s of %s", n.Type, n.Relation)
			}
		})
		// Of a few values it takes their causes alone.
		found := false
		planOf(t, conn, "release values", sql["releaseValuesSQL"]).walk(func(n *node) {
			found = found || n.Index == "exceptions_missed" && strings.Contains(n.IndexCond, "code = ANY")
		})
		if !found {
			t.Error("releaseValuesSQL does not search by the values")
		}
	})

	t.Run("OfScrapes", func(t *testing.T) {
		conn := s.session("raffsync_engine", map[string]string{"enable_seqscan": "off"})
		bySearch(t, "gaugesSQL", planOf(t, conn, "gaugesSQL", sql["gaugesSQL"]))
	})

	t.Run("OfEscalations", func(t *testing.T) {
		conn := s.session("raffsync_engine", map[string]string{"plan_cache_mode": "force_generic_plan"})
		planOf(t, conn, "escalationDueSQL", sql["escalationDueSQL"]).walk(func(n *node) {
			if n.isLarge() && n.Index != "escalations_next" {
				t.Errorf("escalationDueSQL: a %s of %s", n.Type, n.Relation)
			}
		})
	})

	t.Run("OfSweeps", func(t *testing.T) {
		conn := s.session("raffsync_engine", outbox.DispatchSettings)
		ends := map[string]string{"lateSQL": "seq > p.after", "lateMembersSQL": "seq > p.after", "joinLateSQL": "seq = p.seq", "leaveLateSQL": "seq = p.seq"}
		for _, name := range []string{"lateSQL", "lateMembersSQL", "raiseLateSQL", "joinLateSQL", "leaveLateSQL", "withMembersSQL", "lockExceptionSQL", "silentSQL", "raiseSilentSQL", "resolveSilentSQL"} {
			plan := planOf(t, conn, name, sql[name])
			bySearch(t, name, plan)
			found := ends[name] == ""
			plan.walk(func(n *node) { found = found || n.isLarge() && strings.Contains(n.IndexCond, ends[name]) })
			if !found {
				t.Errorf("%s: no search in an index ends by %q", name, ends[name])
			}
		}
	})

	t.Run("OfHousekeeping", func(t *testing.T) {
		conn := s.session("raffsync_engine", map[string]string{"plan_cache_mode": "force_generic_plan"})
		for _, name := range []string{"forgetWritersSQL", "pruneDeadSQL", "busyDestinationsSQL", "skipPageSQL", "openOfRouteSQL", "anyOpenSQL"} {
			bySearch(t, name, planOf(t, conn, name, sql[name]))
		}
	})
}
