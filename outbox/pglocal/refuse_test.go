package pglocal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wantError checks that an error says what it should.
func wantError(t *testing.T, err error, is error, says ...string) {
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

func TestStart_RefusesAnotherMajorVersion(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Config{Dir: dir, NoFsync: true})
	bin, err := s.cluster.binaries(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("14\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), Config{Dir: dir, BinDir: bin.Dir})
	wantError(t, err, ErrVersion, "Postgres 14", bin.Dir, "RAFFSYNC_PG_BIN", "pg_upgrade")
}

func TestStart_RefusesDirectoriesItCanNotUse(t *testing.T) {
	t.Parallel()
	t.Run("ClosedToTheAccount", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("not tried here: only root changes its account")
		}
		closed := filepath.Join(newDir(t), "closed")
		if err := os.Mkdir(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := Start(t.Context(), Config{Dir: filepath.Join(closed, "pg")})
		wantError(t, err, nil, closed+" is closed to the user", "outside it")
	})
	t.Run("NotWritable", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() == 0 {
			t.Skip("not tried here: root may write everywhere (TestAsOrdinaryUser tries it)")
		}
		dir := newDir(t)
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
		_, err := Start(t.Context(), Config{Dir: filepath.Join(dir, "pg")})
		wantError(t, err, os.ErrPermission, dir, "DATABASE_URL")
	})
	t.Run("NoDataDirectory", func(t *testing.T) {
		t.Parallel()
		dir := newDir(t)
		if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := Start(t.Context(), Config{Dir: dir})
		wantError(t, err, nil, filepath.Join(dir, "data"), "move it away")
	})
}

func TestStart_RefusesSettings(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	_, err := Start(t.Context(), Config{Dir: dir, NoFsync: true, Settings: map[string]string{"port": "1"}})
	wantError(t, err, nil, "port")
	_, err = Start(t.Context(), Config{Dir: dir, NoFsync: true, Settings: map[string]string{"a b": "1"}})
	wantError(t, err, nil, `"a b"`)
	_, err = Start(t.Context(), Config{Dir: dir, NoFsync: true, Settings: map[string]string{"work_memory": "1"}})
	wantError(t, err, nil, "work_memory", "postgres.log")
	_, err = Start(t.Context(), Config{})
	wantError(t, err, nil, "Config.Dir")
}
