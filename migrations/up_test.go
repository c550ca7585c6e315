package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"raffsync/migrations"
	"raffsync/outbox/outboxtest"
)

// files makes a set of migrations of names and texts in turn.
func files(namesAndTexts ...string) fstest.MapFS {
	set := fstest.MapFS{}
	for pair := range slices.Chunk(namesAndTexts, 2) {
		set[pair[0]] = &fstest.MapFile{Data: []byte(pair[1])}
	}
	return set
}

var shop = []string{
	"000001_orders.up.sql", "CREATE TABLE orders (id int);\nINSERT INTO orders VALUES (1);\n",
	"000002_by_id.up.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS orders_by_id ON orders (id);\n",
	"000003_total.up.sql", "ALTER TABLE orders ADD total numeric;\n",
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func value[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func mustUp(t *testing.T, dsn string, set fs.FS) migrations.Result {
	t.Helper()
	result, err := migrations.UpFrom(t.Context(), dsn, set)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func wantError(t *testing.T, err, is error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("%v\nis not: %v", err, is)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%v\ndoes not say %q", err, s)
		}
	}
}

// atOnce calls f n times at the same time.
func atOnce(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			f(i)
		})
	}
	done.Wait()
}

func TestUp_FiveReplicasAtOnce(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]fs.FS{"Embedded": migrations.Embedded, "IndexConcurrently": files(shop...)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := outboxtest.NewEmptyDatabase(t)
			var results [5]migrations.Result
			var errs [5]error
			atOnce(5, func(i int) { results[i], errs[i] = migrations.UpFrom(t.Context(), dsn, set) })
			working, to := 0, results[0].To
			for i, err := range errs {
				if err != nil {
					t.Errorf("replica %d: %v", i, err)
				}
				if len(results[i].Applied) > 0 {
					working++
				}
				if results[i].To != to || to == 0 {
					t.Errorf("replica %d is at %d, another at %d", i, results[i].To, to)
				}
			}
			if working != 1 {
				t.Errorf("%d replicas migrated, want 1", working)
			}
		})
	}
}

func TestUp_FiveDatabasesOfOneCluster(t *testing.T) {
	t.Parallel()
	// A cluster without the roles, which its databases share.
	server := outboxtest.NewServer(t, outboxtest.ServerOptions{})
	admin := connect(t, server.DSN("postgres"))
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
	}
	var errs [5]error
	atOnce(len(names), func(i int) { _, errs[i] = migrations.Up(t.Context(), server.DSN(names[i])) })
	for i, err := range errs {
		if err != nil {
			t.Errorf("database %s: %v", names[i], err)
		}
	}
}

func TestUp_StepByStep(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewEmptyDatabase(t)
	got := []migrations.Result{
		mustUp(t, dsn, files(shop[:2]...)),
		mustUp(t, dsn, files(shop...)),
		mustUp(t, dsn, files(shop...)),
	}
	want := []migrations.Result{
		{From: 0, To: 1, Applied: []string{shop[0]}},
		{From: 1, To: 3, Applied: []string{shop[2], shop[4]}},
		{From: 3, To: 3},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if version, err := migrations.Version(t.Context(), dsn); version != 3 || err != nil {
		t.Errorf("version %d, %v; want 3", version, err)
	}
	if !value[bool](t, connect(t, dsn), `SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_by_id'::regclass`) {
		t.Error("the index is not valid")
	}
}

func TestUp_FailingMigrationLeavesNothing(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewEmptyDatabase(t)
	bad := "CREATE TABLE über (id int); -- é\nSET ROLE pg_monitor;\nALTER TABLE nowhere ADD x int;\n"
	result, err := migrations.UpFrom(t.Context(), dsn, files(append(slices.Clone(shop[:2]), "000002_bad.up.sql", bad)...))
	wantError(t, err, nil, "000002_bad.up.sql", `relation "nowhere" does not exist`, "42P01")
	if result.To != 1 || !slices.Equal(result.Applied, shop[:1]) {
		t.Errorf("%+v, want the first one applied", result)
	}
	if got := value[string](t, connect(t, dsn), `SELECT coalesce(to_regclass('über')::text, 'none')`); got != "none" {
		t.Errorf("the failed migration left its table %s", got)
	}
	mustUp(t, dsn, files(shop...)) // once it is mended
}

func TestUp_SyntaxErrorNamesTheLine(t *testing.T) {
	t.Parallel()
	_, err := migrations.UpFrom(t.Context(), outboxtest.NewEmptyDatabase(t), files("000001_x.up.sql", "-- é\nSELECT 1;\nSELEKT 2;\n"))
	wantError(t, err, nil, "000001_x.up.sql:3", "SELEKT")
}

// waitFor waits until a query about the other sessions is true.
func waitFor(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	for !value[bool](t, conn, sql, args...) {
	}
}

func TestUp_SessionLostHalfWay(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewEmptyDatabase(t)
	watcher := connect(t, dsn)
	done := make(chan error)
	go func() {
		slow := "CREATE TABLE half (x int);\nSELECT pg_advisory_lock(1);\n"
		_, err := migrations.UpFrom(context.Background(), dsn, files("000001_slow.up.sql", slow))
		done <- err
	}()
	value[any](t, watcher, `SELECT pg_advisory_lock(1)::text`)
	waitFor(t, watcher, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
	value[int64](t, watcher, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'raffsync migrate'`)
	wantError(t, <-done, nil, "000001_slow.up.sql")
	// Neither half a migration nor a dirty database: the next one just goes on.
	mustUp(t, dsn, files("000001_slow.up.sql", "CREATE TABLE half (x int);\n"))
}

func TestUp_WaitsForAnotherReplicaOnlyAsLongAsTheContext(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewEmptyDatabase(t)
	other := connect(t, dsn)
	value[any](t, other, `SELECT pg_advisory_lock($1)::text`, migrations.LockKey)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := migrations.UpFrom(ctx, dsn, files(shop...))
		done <- err
	}()
	waitFor(t, other, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_try_advisory_lock%' AND pid <> pg_backend_pid())`)
	cancel()
	wantError(t, <-done, context.Canceled)
	if version, err := migrations.Version(t.Context(), dsn); version != 0 || err != nil {
		t.Errorf("version %d, %v; want 0", version, err)
	}
}

// What another replica is in the middle of is not interrupted.
func TestUp_WaitsForAMigrationUnderWay(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewEmptyDatabase(t)
	mustUp(t, dsn, files(shop...))
	other := connect(t, dsn)
	value[any](t, other, `SELECT pg_advisory_lock($1)::text`, migrations.LockKey)
	if _, err := other.Exec(t.Context(), `UPDATE schema_migrations SET dirty = true`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := migrations.UpFrom(t.Context(), dsn, files(shop...))
		done <- err
	}()
	waitFor(t, other, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_try_advisory_lock%' AND pid <> pg_backend_pid())`)
	if _, err := other.Exec(t.Context(), `UPDATE schema_migrations SET dirty = false`); err != nil {
		t.Fatal(err)
	}
	value[bool](t, other, `SELECT pg_advisory_unlock($1)`, migrations.LockKey)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestUp_Dirty(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewEmptyDatabase(t)
	mustUp(t, dsn, files(shop[:2]...))
	conn := connect(t, dsn)
	if _, err := conn.Exec(t.Context(), `INSERT INTO orders VALUES (1)`); err != nil { // so that a unique index fails
		t.Fatal(err)
	}
	unique := slices.Clone(shop)
	unique[3] = "-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS orders_by_id ON orders (id);\n"
	_, err := migrations.UpFrom(t.Context(), dsn, files(unique...))
	wantError(t, err, nil, "000002_by_id.up.sql", "23505")
	_, err = migrations.UpFrom(t.Context(), dsn, files(unique...))
	mend := "UPDATE schema_migrations SET version = 1, dirty = false"
	wantError(t, err, migrations.ErrDirty, "migration 2", "000002_by_id.up.sql", "DROP INDEX", mend)
	if _, err := migrations.Version(t.Context(), dsn); !errors.Is(err, migrations.ErrDirty) {
		t.Errorf("Version says %v, want ErrDirty", err)
	}

	// Doing half of what it says is found out: IF NOT EXISTS takes the invalid
	// index for the wanted one.
	if _, err := conn.Exec(t.Context(), mend); err != nil {
		t.Fatal(err)
	}
	_, err = migrations.UpFrom(t.Context(), dsn, files(unique...))
	wantError(t, err, nil, "orders_by_id", "invalid", "DROP INDEX")
	for _, sql := range []string{`DROP INDEX orders_by_id`, `TRUNCATE orders`, mend} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	mustUp(t, dsn, files(unique...))
}

func TestUp_DatabaseNewerThanTheProgram(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewEmptyDatabase(t)
	mustUp(t, dsn, files(shop...))
	result, err := migrations.UpFrom(t.Context(), dsn, files(shop[:4]...))
	wantError(t, err, migrations.ErrNewer, "migration 3", "up to 2", "newer program")
	if result.From != 3 {
		t.Errorf("%+v, want the database's version", result)
	}
}

func TestUp_ReadOnly(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewEmptyDatabase(t)
	_, err := migrations.UpFrom(t.Context(), dsn+"&default_transaction_read_only=on", files(shop...))
	wantError(t, err, nil, "read-only", "primary")
}

func TestUp_Unreachable(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]string{
		"NoSocket":   "postgres://u:hush@/db?host=/nonexistent",
		"NoDatabase": strings.Replace(outboxtest.NewEmptyDatabase(t), "?", "_no?password=hush&", 1),
		"Unreadable": "postgres://u:hush@h:x/db",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := migrations.Up(t.Context(), dsn)
			is := migrations.ErrUnreachable
			if name == "Unreadable" {
				is = nil
			}
			wantError(t, err, is)
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	lock := migrations.Explain("000001_x.up.sql", "", &pgconn.PgError{Code: "55P03", Message: "canceling statement due to lock timeout"})
	wantError(t, lock, nil, "more than 10s", "Nothing was changed")
	hint := migrations.Explain("000001_x.up.sql", "", &pgconn.PgError{Code: "RS002", Message: "no roles", Hint: "CREATE ROLE x;"})
	wantError(t, hint, nil, "no roles", "CREATE ROLE x;")
}

func TestHash(t *testing.T) {
	t.Parallel()
	hash := func(set fs.FS) string {
		h, err := migrations.HashOf(set)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if got := migrations.Hash(); len(got) != 16 || got != hash(migrations.Embedded) {
		t.Errorf("Hash() = %q", got)
	}
	// The border between name and text counts.
	a, b := files("000001_a.up.sql", "x"), files("000001_a.up.sqlx.sql", "")
	if hash(a) == hash(b) || hash(a) == hash(files("000001_a.up.sql", "y")) {
		t.Error("different files, equal hashes")
	}
}

// TestEmbedded holds the files to their form.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(migrations.Embedded, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		if !strings.HasPrefix(name, fmt.Sprintf("%06d_", i+1)) || !strings.HasSuffix(name, ".up.sql") {
			t.Errorf("%s: want %s<subject>.up.sql, numbered without gaps", name, fmt.Sprintf("%06d_", i+1))
		}
	}
	if got := migrations.Latest(); int(got) != len(names) {
		t.Errorf("Latest() = %d, there are %d files", got, len(names))
	}
}
