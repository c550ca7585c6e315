package pglocal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// MinMajor is the oldest major version whose binaries are used: the SQL of this
// project keeps to what Postgres 15 has.
const MinMajor = 15

var (
	// ErrInUse: another process owns the cluster of this folder.
	ErrInUse = errors.New("this folder's Postgres belongs to another process")
	// ErrNoBinaries: no usable server binaries were found or fetched.
	ErrNoBinaries = errors.New("no Postgres found")
	// ErrNotRunning: Attach found no running cluster.
	ErrNotRunning = errors.New("no Postgres is running in this folder")
	// ErrVersion: the data directory is of another major version than the
	// binaries.
	ErrVersion = errors.New("the data directory is of another major version of Postgres")
)

// Config says where the cluster is and how it runs.
type Config struct {
	// Dir holds everything of this cluster; it is created where it is missing.
	// DefaultDir gives a good one. When running as root it must not lie below a
	// closed folder such as /root.
	Dir string

	// BinDir is the folder of initdb and postgres. Empty: they are looked for.
	BinDir string

	// NoFsync turns fsync and full_page_writes off: quick, and a crash of the
	// machine destroys the data. For tests only.
	NoFsync bool

	// Settings are further server settings, written at each launch; they win
	// over the defaults here, and ALTER SYSTEM wins over them. An adopted
	// cluster keeps the settings it was launched with. The socket and the
	// listeners are not among them.
	Settings map[string]string

	// Logger hears of slow moments: a download, a recovery. Nil: nothing.
	Logger *slog.Logger
}

// ownSettings can't be given in Config.Settings: the launcher would not find the
// server again.
var ownSettings = []string{"listen_addresses", "port", "unix_socket_directories", "unix_socket_permissions"}

var settingName = regexp.MustCompile(`^[a-z_][a-z0-9_.]*$`)

// checked returns the configuration made complete.
func (c Config) checked() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("pglocal: Config.Dir is empty")
	}
	for name, value := range c.Settings {
		if slices.Contains(ownSettings, name) {
			return c, fmt.Errorf("pglocal: the setting %s is the launcher's own", name)
		}
		if !settingName.MatchString(name) || strings.ContainsAny(value, "\n\r\x00") {
			return c, fmt.Errorf("pglocal: setting %q is not one that a configuration file can hold", name)
		}
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("pglocal: %w", err)
	}
	c.Dir = dir
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

var instanceName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// DefaultDir is where the cluster of this name is kept: /var/lib/raffsync/name
// for root, whose home is closed to the account that Postgres runs as, and
// raffsync/name below the user's cache directory otherwise. Names are lower-case
// letters, digits, dots, dashes and underscores.
func DefaultDir(name string) (string, error) {
	if !instanceName.MatchString(name) {
		return "", fmt.Errorf("pglocal: %q can't name a folder: use lower-case letters, digits and dashes", name)
	}
	base, err := baseDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(base, name), nil
}

func baseDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/raffsync", nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("pglocal: no folder for Postgres' data: %w; set HOME, or point DATABASE_URL at a running server", err)
	}
	return filepath.Join(cache, "raffsync"), nil
}
