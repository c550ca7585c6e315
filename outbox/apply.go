package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Applied is a version of a tenant's configuration.
type Applied struct {
	Configuration
	Version int
	Names   Names
}

const (
	currentSQL = `SELECT version, document, digest FROM configuration WHERE tenant = $1 ORDER BY version DESC LIMIT 1`

	// applyLockSQL keeps two applies of one tenant from making the same version.
	applyLockSQL = `SELECT pg_advisory_xact_lock(hashtextextended('raffsync apply ' || $1, 0))`

	applySQL = `INSERT INTO configuration (tenant, version, document, digest, actor, reason) VALUES ($1, $2, $3, $4, $5, $6)`

	appliedSQL = `
INSERT INTO timeline (tenant, what, reason, actor, detail) VALUES ($1, 'configuration', $2, $3, jsonb_build_object('version', $4::integer))`

	configurationsSQL = `SELECT DISTINCT ON (tenant) version, document FROM configuration ORDER BY tenant, version DESC`
)

// Apply makes c the tenant's configuration, as a new version with actor and reason,
// and returns it; the version stays where nothing differs. It refuses to remove a
// destination that still has open deliveries: see [Store.Remove]. What is draining goes
// on draining.
func (s *Store) Apply(ctx context.Context, actor Actor, c Configuration, reason string) (Applied, error) {
	return s.Remove(ctx, actor, c, reason, Removal{})
}

// change makes what f makes of a tenant's configuration the next version. A dry run
// takes all of it back.
func (s *Store) change(ctx context.Context, actor Actor, reason string, dryRun bool, f func(ctx context.Context, tx pgx.Tx, current Configuration) (Configuration, error)) (Applied, error) {
	var applied Applied
	err := pgx.BeginFunc(ctx, s.engine, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, applyLockSQL, actor.Tenant); err != nil {
			return err
		}
		var before, document []byte
		var current Configuration
		err := tx.QueryRow(ctx, currentSQL, actor.Tenant).Scan(&applied.Version, &current, &before)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		c, err := f(ctx, tx, current)
		if err != nil {
			return err
		}
		if document, err = json.Marshal(c); err != nil {
			return err
		}
		digest := sha256.Sum256(document)
		applied.Configuration = c
		if err := syncNames(ctx, tx, &c); err != nil {
			return err
		}
		if applied.Names, err = namesOf(ctx, tx, c.Tenant); err != nil {
			return err
		}
		if string(before) != string(digest[:]) {
			applied.Version++
			if _, err := tx.Exec(ctx, applySQL, c.Tenant, applied.Version, document, digest[:], actor.Name, reason); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, appliedSQL, c.Tenant, reason, actor.Name, applied.Version); err != nil {
				return err
			}
		}
		if dryRun {
			return errDryRun
		}
		// Told with the commit: whoever applies may be no process that serves.
		hint, err := json.Marshal(Hint{Configuration: true})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, notifySQL, string(hint))
		return err
	})
	if dryRun && errors.Is(err, errDryRun) {
		return applied, nil
	}
	if err != nil {
		return Applied{}, fmt.Errorf("apply: %w", err)
	}
	return applied, nil
}

// Configurations returns every tenant's configuration in force.
func (s *Store) Configurations(ctx context.Context) ([]Applied, error) {
	var all []Applied
	// One snapshot: names are those of the version that they come with.
	err := pgx.BeginTxFunc(ctx, s.engine, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, configurationsSQL)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Applied, error) {
			var a Applied
			return a, row.Scan(&a.Version, &a.Configuration)
		})
		if err != nil {
			return err
		}
		for i := range all {
			if all[i].Names, err = namesOf(ctx, tx, all[i].Tenant); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return all, nil
}

// ConfigurationOf returns a tenant's configuration in force, or [ErrNotFound].
func (s *Store) ConfigurationOf(ctx context.Context, tenant string) (Applied, error) {
	all, err := s.Configurations(ctx)
	if err != nil {
		return Applied{}, err
	}
	for _, a := range all {
		if a.Tenant == tenant {
			return a, nil
		}
	}
	return Applied{}, fmt.Errorf("configuration of tenant %q: %w", tenant, ErrNotFound)
}
