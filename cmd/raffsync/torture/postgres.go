package torture

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/pglocal"
)

const (
	databaseName   = "raffsync"
	postgresLimit  = 2 * time.Minute // of one start, recovery included
	maxConnections = 120
)

// postgres is the rig's own server, which may be killed.
type postgres struct {
	config pglocal.Config
	disk   *smallDisk // nil where it is on the machine's

	mu     sync.Mutex // held while it is down
	server *pglocal.Server
	dsn    string
	socket string
}

// startPostgres starts it, on a disk of its own of so many bytes, where there is to be one.
// noDisk is why that cannot be.
func startPostgres(ctx context.Context, noFsync bool, disk int64) (p *postgres, noDisk, err error) {
	dir, err := pglocal.DefaultDir("torture-" + strings.ToLower(rand.Text()[:10]))
	if err != nil {
		return nil, nil, err
	}
	// The account that root drops to has to pass the folder above.
	if err := errors.Join(os.MkdirAll(filepath.Dir(dir), 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		return nil, nil, err
	}
	p = &postgres{config: pglocal.Config{Dir: dir, NoFsync: noFsync, Settings: map[string]string{
		"max_connections": fmt.Sprint(maxConnections), "max_wal_size": "128MB",
	}}}
	if disk > 0 {
		if p.disk, noDisk = mountSmallDisk(dir, disk); noDisk == nil {
			p.config.Dir = filepath.Join(dir, "cluster")
		}
	}
	if err := p.start(ctx); err != nil {
		return nil, noDisk, errors.Join(err, p.remove())
	}
	conn, err := pgx.Connect(ctx, p.server.DSN("postgres"))
	if err == nil {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+databaseName)
		_ = conn.Close(ctx)
	}
	if err != nil {
		return nil, noDisk, errors.Join(err, p.remove())
	}
	return p, noDisk, nil
}

func (p *postgres) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, postgresLimit)
	defer cancel()
	server, err := pglocal.Start(ctx, p.config)
	if err != nil {
		return err
	}
	p.server = server
	p.dsn = p.server.DSN(databaseName)
	parsed, err := pgx.ParseConfig(p.dsn)
	if err != nil {
		return err
	}
	p.socket = filepath.Join(parsed.Host, fmt.Sprintf(".s.PGSQL.%d", parsed.Port))
	return nil
}

// crash kills the server, waits for the end of its sessions, and starts it again.
func (p *postgres) crash(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := syscall.Kill(p.server.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill Postgres: %w", err)
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), postgresLimit)
	defer cancel()
	if err := p.server.Stop(stopping); err != nil {
		return fmt.Errorf("wait for the end of Postgres: %w", err)
	}
	err := p.start(context.WithoutCancel(ctx))
	for err != nil && stopping.Err() == nil {
		pause(stopping, time.Second) // its sessions may linger, on a busy machine for long
		err = p.start(context.WithoutCancel(ctx))
	}
	return err
}

// connect reaches the server itself, without a proxy.
func (p *postgres) connect(ctx context.Context) (*pgx.Conn, error) {
	p.mu.Lock()
	dsn := p.dsn
	p.mu.Unlock()
	return pgx.Connect(ctx, dsn)
}

// answers tells whether it serves within a few seconds.
func (p *postgres) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if conn, err := p.connect(ctx); err == nil {
			_ = conn.Close(ctx)
			return true
		}
		pause(ctx, 50*time.Millisecond)
	}
	return false
}

func (p *postgres) dial() (net.Conn, error) { return net.Dial("unix", p.socket) }

// through is the DSN by way of a proxy.
func (p *postgres) through(address string) (string, error) {
	parsed, err := pgx.ParseConfig(p.dsn)
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "postgres", User: url.User(parsed.User), Host: address, Path: "/" + databaseName, RawQuery: "sslmode=disable"}
	return u.String(), nil
}

func (p *postgres) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), postgresLimit)
	defer cancel()
	var err error
	if p.server != nil {
		err = p.server.Stop(ctx)
	}
	err = errors.Join(err, pglocal.Remove(ctx, p.config.Dir))
	if p.disk != nil {
		err = errors.Join(err, p.disk.unmount())
	}
	return err
}
