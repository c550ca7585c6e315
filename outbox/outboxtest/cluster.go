package outboxtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/pglocal"
)

// serverEnv names a server to use instead of the shared cluster.
const serverEnv = "RAFFSYNC_TEST_DATABASE_URL"

// nameEnv gives the shared cluster's folder another name than "test", for the
// tests of this package.
const nameEnv = "RAFFSYNC_OUTBOXTEST_NAME"

// shared is the server of this process's databases: an administrator's session
// that lives as long as the process, by which others see that its databases are
// in use.
type shared struct {
	dsn   string // of any database of the server
	token string // unique name of this process: of the session, and before its databases'

	mu       sync.Mutex
	admin    *pgx.Conn
	template string
	made     int

	users *os.File // held for the life of the process
}

// openShared reaches the server once a process; its error is each test's.
var openShared = sync.OnceValues(func() (*shared, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keeperTimeout)
	defer cancel()
	s, err := reachShared(ctx)
	if err != nil {
		return nil, fmt.Errorf("outboxtest: %w", err)
	}
	return s, nil
})

func reachShared(ctx context.Context) (*shared, error) {
	s := &shared{dsn: os.Getenv(serverEnv), token: newToken()}
	if s.dsn == "" {
		if err := s.useCluster(ctx); err != nil {
			return nil, err
		}
	}
	conn, err := s.session(ctx)
	if err != nil {
		return nil, err
	}
	return s, sweepDatabases(ctx, conn)
}

// useCluster counts this process among the cluster's users and waits until it is
// up, starting the keeper where there is none.
func (s *shared) useCluster(ctx context.Context) error {
	bin, err := pglocal.Find(ctx, nil)
	if err != nil {
		return err
	}
	dir, err := pglocal.DefaultDir(cmp.Or(os.Getenv(nameEnv), "test") + "-" + strconv.Itoa(bin.Major))
	if err != nil {
		return err
	}
	if err := makeOpenDir(dir); err != nil {
		return err
	}
	h := home(dir)
	if s.users, err = waitLock(ctx, h.users(), syscall.LOCK_SH); err != nil {
		return err
	}
	for started := false; ; {
		lock, err := tryLock(h.keeper(), syscall.LOCK_EX)
		if err != nil {
			return err
		}
		if lock != nil {
			if started {
				_ = unlock(lock)
				said, _ := os.ReadFile(h.log())
				return fmt.Errorf("the cluster of the tests in %s did not start: %s", dir, strings.TrimSpace(string(said)))
			}
			started = true
			if err := startKeeper(h, bin.Dir, lock); err != nil {
				return fmt.Errorf("starting the cluster of the tests in %s: %w", dir, err)
			}
		}
		if address, err := os.ReadFile(h.address()); err == nil {
			s.dsn = string(address)
			if _, err := s.session(ctx); err == nil {
				return nil
			}
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("waiting for the cluster of the tests in %s: %w", dir, err)
		}
	}
}

// session is the administrator's session, made anew where it has broken. The
// caller holds mu, or is alone.
func (s *shared) session(ctx context.Context) (*pgx.Conn, error) {
	if s.admin != nil && !s.admin.IsClosed() {
		return s.admin, nil
	}
	config, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["application_name"] = s.token
	s.admin, err = pgx.ConnectConfig(ctx, config)
	return s.admin, err
}

// onDatabase is a DSN with the database replaced, in either of their notations.
func onDatabase(dsn, database string) (string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " dbname=" + database, nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the server's URL can't be read") // it may hold a password
	}
	u.Path = "/" + database
	return u.String(), nil
}
