package pglocal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cluster is one data directory with what belongs to it.
type cluster struct {
	cfg    Config
	as     account
	dir    string
	logger *slog.Logger
}

func (c *cluster) data() string     { return filepath.Join(c.dir, "data") }
func (c *cluster) lockFile() string { return filepath.Join(c.dir, "lock") }
func (c *cluster) logFile() string  { return filepath.Join(c.dir, "postgres.log") }
func (c *cluster) pidFile() string  { return filepath.Join(c.data(), "postmaster.pid") }

// maxSocketDir keeps <dir>/.s.PGSQL.5432 within the 104 bytes that macOS gives
// a socket's path (Linux: 108).
const maxSocketDir = 88

// plainPath: the characters that unix_socket_directories, a list separated by
// commas, needs no quoting for.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

// socketDir is beside the data, or, where that path is too long or odd, in /tmp
// under a name made of the folder, so that the next run finds it again.
func (c *cluster) socketDir() string {
	if beside := filepath.Join(c.dir, "run"); len(beside) <= maxSocketDir && plainPath.MatchString(beside) {
		return beside
	}
	sum := sha256.Sum256([]byte(c.dir))
	return "/tmp/raffsync-" + strconv.FormatUint(uint64(c.as.uid), 10) + "-" + hex.EncodeToString(sum[:6])
}

// Exists tells whether a cluster has been made in the folder, running or not.
func Exists(dir string) bool {
	major, err := (&cluster{dir: dir}).major()
	return major != 0 || err != nil // one that is damaged is there
}

// openCluster makes the folder and takes the cluster for this process.
func openCluster(cfg Config) (*cluster, *os.File, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, nil, err
	}
	if err := makeDirs(cfg.Dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("pglocal: no folder for Postgres: %w; choose one that can be written, or point DATABASE_URL at a running server", err)
	}
	dir, err := filepath.EvalSymlinks(cfg.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("pglocal: %w", err)
	}
	c := &cluster{cfg: cfg, dir: dir, logger: cfg.Logger.With("dir", dir)}
	if c.as, err = serverAccount(c.data()); err != nil {
		return nil, nil, err
	}
	if err := c.as.reach(dir); err != nil {
		return nil, nil, fmt.Errorf("pglocal: %w", err)
	}
	lock, err := ownCluster(c.lockFile())
	if err != nil {
		return nil, nil, fmt.Errorf("pglocal: %w", err)
	}
	return c, lock, nil
}

// major is the version of the data directory, 0 where there is none.
func (c *cluster) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(c.data(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s/PG_VERSION holds %q: the data directory is damaged; restore it, or move it away to begin anew", c.data(), text)
	}
	return major, nil
}

// prepare finds binaries that fit the data directory and makes the directory
// where there is none.
func (c *cluster) prepare(ctx context.Context) (Binaries, error) {
	have, err := c.major()
	if err != nil {
		return Binaries{}, err
	}
	bin, err := c.binaries(ctx, have)
	if err != nil {
		return Binaries{}, err
	}
	if have != 0 && have != bin.Major {
		return Binaries{}, fmt.Errorf("%w: %s is of Postgres %d, %s is %d: name a folder of Postgres %d's binaries in %s, upgrade the directory with pg_upgrade, or move it away to begin with no data",
			ErrVersion, c.data(), have, bin.Dir, bin.Major, have, binEnv)
	}
	if have == 0 {
		if err := c.initdb(ctx, bin); err != nil {
			return Binaries{}, err
		}
	}
	return bin, c.writeSettings()
}

func (c *cluster) binaries(ctx context.Context, major int) (Binaries, error) {
	base, err := baseDir()
	if err != nil {
		return Binaries{}, err
	}
	f := newFinder(base, c.as, c.logger)
	if c.cfg.BinDir != "" {
		b, err := f.inspect(ctx, c.cfg.BinDir, "Config.BinDir")
		if err != nil {
			return Binaries{}, fmt.Errorf("%w where Config.BinDir points: %w", ErrNoBinaries, err)
		}
		return b, nil
	}
	return f.find(ctx, major)
}

// initdb makes the data directory under another name and renames it when it is
// complete: what a killed initdb left is thrown away, never started. The name is
// new each time, since that initdb may still be running.
//
// Every local user of the socket is trusted: its folder is closed to others.
// The C locale is the one that every system has and that sorts alike on all.
func (c *cluster) initdb(ctx context.Context, bin Binaries) error {
	if _, err := os.Lstat(c.data()); err == nil {
		return fmt.Errorf("%s exists but is no data directory of Postgres (PG_VERSION is missing): move it away", c.data())
	}
	left, _ := filepath.Glob(c.data() + ".making-*")
	for _, dir := range left {
		if err := removeAll(ctx, dir); err != nil {
			return err
		}
	}
	making, err := os.MkdirTemp(c.dir, "data.making-*") // mode 0700
	if err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	if err := c.as.own(making); err != nil {
		return err
	}
	args := []string{
		"-D", making, "-U", superuser, "--encoding=UTF8", "--locale=C",
		"--auth-local=trust", "--auth-host=reject", "--data-checksums",
	}
	if c.cfg.NoFsync {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin.Dir, "initdb"), args...)
	c.as.become(cmd)
	cmd.WaitDelay = 5 * time.Second // its children keep the pipe
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		_ = os.RemoveAll(making)
		return fmt.Errorf("initdb failed in %s: %w", c.dir, withOutput(err, output.String()))
	}
	if err := includeSettings(making); err != nil {
		return err
	}
	return os.Rename(making, c.data())
}

const settingsFile = "raffsync.conf"

func includeSettings(data string) error {
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString("\ninclude_if_exists '" + settingsFile + "'\n")
	return errors.Join(err, conf.Close())
}

// writeSettings writes the settings file of the data directory, for a launch.
func (c *cluster) writeSettings() error {
	settings := map[string]string{
		"max_connections":  "200",
		"listen_addresses": "",
		"cluster_name":     "raffsync",
		"log_line_prefix":  "%m [%p] %q%d ",
		// Details and statements of errors quote payloads: not into a log.
		"log_error_verbosity":     "terse",
		"log_min_error_statement": "panic",
		"log_checkpoints":         "off",
		"unix_socket_permissions": "0700",
		"unix_socket_directories": c.socketDir(),
		"port":                    socketPort,
		"fsync":                   onOff(!c.cfg.NoFsync),
		"full_page_writes":        onOff(!c.cfg.NoFsync),
	}
	maps.Copy(settings, c.cfg.Settings)
	var text strings.Builder
	text.WriteString("# Written by raffsync at each launch. ALTER SYSTEM wins over it.\n")
	quote := strings.NewReplacer(`'`, `''`, `\`, `\\`)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, quote.Replace(settings[name]))
	}
	if err := c.writeData(settingsFile, text.String()); err != nil {
		return fmt.Errorf("writing the server's settings: %w", err)
	}
	return nil
}

// writeData writes a file of the data directory. The directory is the account's,
// which could have put a symbolic link there, and we may be root: os.Root keeps
// to the directory.
func (c *cluster) writeData(name, text string) error {
	root, err := os.OpenRoot(c.data())
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.WriteFile(name, []byte(text), 0o600); err != nil {
		return err
	}
	if !c.as.drop {
		return nil
	}
	return root.Lchown(name, int(c.as.uid), int(c.as.gid))
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
