package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	superuser  = "postgres"
	socketPort = "5432" // part of the socket's name, no TCP port
)

// postmaster is what the server's pid file says. Source of the format:
// src/include/utils/pidfile.h.
type postmaster struct {
	pid       int
	socketDir string
}

// readPidFile returns nil where there is no pid file or an unfinished one.
func (c *cluster) readPidFile() (*postmaster, error) {
	text, err := os.ReadFile(c.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 {
		return nil, nil
	}
	pm := &postmaster{pid: pid, socketDir: c.socketDir()}
	if len(lines) > 4 && lines[4] != "" {
		pm.socketDir = lines[4]
	}
	return pm, nil
}

// forget makes a left-over pid file harmless whose number some other process has
// by now, which is usual in containers: Postgres would refuse to start. The file
// must stay, since Postgres finds by it the shared memory of backends that
// outlived their postmaster; so it gets our number, and a postmaster takes its
// parent's for a left-over.
func (c *cluster) forget(stale *postmaster) error {
	if errors.Is(syscall.Kill(stale.pid, 0), syscall.ESRCH) {
		return nil // Postgres sees for itself
	}
	text, err := os.ReadFile(c.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	if strings.TrimSpace(first) != strconv.Itoa(stale.pid) {
		return nil
	}
	return c.writeData("postmaster.pid", strconv.Itoa(os.Getpid())+"\n"+rest)
}

// dsn names a database of the cluster for its superuser.
func dsn(socketDir, database string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.User(superuser),
		Path:   "/" + database,
		RawQuery: url.Values{
			"host": {socketDir},
			"port": {socketPort},
		}.Encode(),
	}
	return u.String()
}

// errRefused: a server answers but will not let us in, and waiting is no use.
var errRefused = errors.New("the running Postgres refuses the connection")

// probe connects and returns the server's version, once the cluster accepts
// connections.
func (c *cluster) probe(ctx context.Context, socketDir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, dsn(socketDir, "postgres"))
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "28") {
			return "", fmt.Errorf("%w: %s; look at %s/pg_hba.conf", errRefused, pg.Message, c.data())
		}
		return "", err
	}
	defer conn.Close(ctx)
	result := conn.ExecParams(ctx, "SHOW data_directory", nil, nil, nil, nil).Read()
	if result.Err != nil {
		return "", result.Err
	}
	if got := string(result.Rows[0][0]); got != c.data() {
		return "", fmt.Errorf("%w: the socket in %s belongs to the data directory %s", errRefused, socketDir, got)
	}
	return conn.ParameterStatus("server_version"), nil
}
