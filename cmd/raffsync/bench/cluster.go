package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/migrations"
	"raffsync/outbox/pglocal"
)

// cluster is the bench's own Postgres. Databases come and go; nothing of it is kept.
type cluster struct {
	server *pglocal.Server
	admin  *pgx.Conn
	dir    string
	made   int
}

const (
	// template is a database of ours, migrated and empty; other ones are copies.
	template    = "raffsync_template"
	stopTimeout = time.Minute
)

// startCluster starts a Postgres with nothing in it. What a killed bench left under
// the name is deleted; one that runs is an error.
func startCluster(ctx context.Context, name string, log *slog.Logger) (*cluster, error) {
	dir, err := pglocal.DefaultDir(name)
	if err != nil {
		return nil, err
	}
	config := pglocal.Config{Dir: dir, Logger: log, Settings: map[string]string{
		// Checkpoints are made by the bench, before each round, and not in the middle.
		"max_wal_size": "16GB", "checkpoint_timeout": "1h",
		"shared_buffers": "1GB",
	}}
	left, err := pglocal.Attach(ctx, config)
	switch {
	case err == nil:
		if err := left.Stop(ctx); err != nil {
			return nil, err
		}
	case errors.Is(err, pglocal.ErrInUse):
		return nil, fmt.Errorf("another bench is running: %w", err)
	case !errors.Is(err, pglocal.ErrNotRunning):
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	c := &cluster{dir: dir}
	if c.server, err = pglocal.Start(ctx, config); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.stop(ctx))
	}
	return c, nil
}

func (c *cluster) prepare(ctx context.Context) (err error) {
	if c.admin, err = pgx.Connect(ctx, c.server.DSN("postgres")); err != nil {
		return err
	}
	if _, err := c.admin.Exec(ctx, `CREATE DATABASE `+template); err != nil {
		return err
	}
	_, err = migrations.Up(ctx, c.server.DSN(template))
	return err
}

// stop ends Postgres and deletes its data.
func (c *cluster) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if c.admin != nil {
		_ = c.admin.Close(ctx)
	}
	return errors.Join(c.server.Stop(ctx), os.RemoveAll(c.dir))
}

// database is one of the cluster's, for one round.
type database struct {
	cluster *cluster
	name    string
	dsn     string
}

// create makes a database as a copy of another one, and a checkpoint, so that every
// round begins with the same one behind it.
func (c *cluster) create(ctx context.Context, from string) (*database, error) {
	c.made++
	d := &database{cluster: c, name: fmt.Sprintf("bench_%d", c.made)}
	d.dsn = c.server.DSN(d.name)
	if _, err := c.admin.Exec(ctx, `CREATE DATABASE `+d.name+` TEMPLATE `+from+` STRATEGY file_copy`); err != nil {
		return nil, err
	}
	if _, err := c.admin.Exec(ctx, `CHECKPOINT`); err != nil {
		return nil, errors.Join(err, d.drop(ctx))
	}
	return d, nil
}

func (d *database) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	_, err := d.cluster.admin.Exec(ctx, `DROP DATABASE `+d.name+` WITH (FORCE)`)
	return err
}
