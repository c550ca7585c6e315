package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Use is what a process makes of a tenant's configuration.
type Use struct {
	Tenant string
	// Version that it looked at last; in force unless there is a problem.
	Version int
	// Problem of its routes, for people and without secrets; empty where there is none.
	Problem  string
	Troubles []Trouble
}

// Trouble is a destination that a process cannot use as configured.
type Trouble struct {
	Destination int32
	// Problem for people, without secrets.
	Problem string
	// Rests: nothing is sent to it. Otherwise it is used as it was configured before.
	Rests bool
}

// ProcessUse is what one running process makes of one tenant's configuration.
type ProcessUse struct {
	Process int64 `json:"process"`
	// Version that it looked at last; 0 where it knows nothing of the tenant yet.
	Version int `json:"version"`
	// Problems that keep some of the version from being in force, for people; none
	// where all of it is.
	Problems []string `json:"problems"`
}

// processAlive is how long a process counts as running after its last word.
const processAlive = 10 * time.Second

const (
	nextProcessSQL   = `SELECT nextval('process_ids')`
	processLivesSQL  = `UPDATE processes SET alive_until = now() + $2::interval WHERE id = $1`
	processBeginsSQL = `INSERT INTO processes (id, alive_until) VALUES ($1, now() + $2::interval) ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until`
	processEndsSQL   = `DELETE FROM processes WHERE id = $1`

	forgetUseSQL = `DELETE FROM configuration_use WHERE process = $1`
	storeUseSQL  = `
INSERT INTO configuration_use (process, tenant, destination, version, problem, rests)
SELECT $1, u.* FROM unnest($2::text[], $3::integer[], $4::integer[], $5::text[], $6::boolean[]) AS u`

	// usesSQL: a process without a row of the tenant has not heard of it yet.
	usesSQL = `
SELECT p.id AS process, coalesce(max(u.version), 0) AS version,
       coalesce(array_agg(u.problem ORDER BY u.destination) FILTER (WHERE u.problem <> ''), '{}') AS problems
  FROM processes p
  LEFT JOIN configuration_use u ON u.process = p.id AND u.tenant = $1
 WHERE p.alive_until > now()
 GROUP BY p.id ORDER BY p.id`
)

// Process is a program that serves, as the others know it: until it ends, or has said
// nothing for ten seconds. One goroutine uses it.
type Process struct {
	store *Store
	id    int64
	begun bool // what it makes of the configuration is stored
}

// NewProcess gives the process a number. Nobody knows of it before [Process.Report].
func (s *Store) NewProcess(ctx context.Context) (*Process, error) {
	p := &Process{store: s}
	if err := s.engine.QueryRow(ctx, nextProcessSQL).Scan(&p.id); err != nil {
		return nil, fmt.Errorf("number the process: %w", err)
	}
	return p, nil
}

// Report says that the process lives, and what it makes of every tenant's
// configuration, where that changed since the last report.
func (p *Process) Report(ctx context.Context, uses []Use, changed bool) error {
	err := pgx.BeginFunc(ctx, p.store.engine, func(tx pgx.Tx) error {
		if p.begun && !changed {
			tag, err := tx.Exec(ctx, processLivesSQL, p.id, processAlive)
			if err != nil || tag.RowsAffected() == 1 {
				return err
			} // it was taken for dead: all of it is said again
		}
		if _, err := tx.Exec(ctx, processBeginsSQL, p.id, processAlive); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, forgetUseSQL, p.id); err != nil {
			return err
		}
		return p.store.storeUse(ctx, tx, p.id, uses)
	})
	if err != nil {
		return fmt.Errorf("report the configuration in use: %w", err)
	}
	p.begun = true
	return nil
}

func (s *Store) storeUse(ctx context.Context, tx pgx.Tx, process int64, uses []Use) error {
	var tenants, problems []string
	var destinations, versions []int32
	var rests []bool
	add := func(u Use, t Trouble) {
		tenants, versions = append(tenants, u.Tenant), append(versions, int32(u.Version))
		destinations, problems, rests = append(destinations, t.Destination), append(problems, storable(t.Problem)), append(rests, t.Rests)
	}
	for _, u := range uses {
		add(u, Trouble{Problem: u.Problem})
		for _, t := range u.Troubles {
			add(u, t)
		}
	}
	_, err := tx.Exec(ctx, storeUseSQL, process, tenants, destinations, versions, problems, rests)
	return err
}

// End says that the process serves no more.
func (p *Process) End(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, p.store.engine, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, processEndsSQL, p.id)
		_, forget := tx.Exec(ctx, forgetUseSQL, p.id)
		return errors.Join(err, forget)
	})
	if err != nil {
		return fmt.Errorf("end the process: %w", err)
	}
	return nil
}

// Uses tells what each running process makes of a tenant's configuration; none where
// none runs.
func (s *Store) Uses(ctx context.Context, tenant string) ([]ProcessUse, error) {
	rows, err := s.engine.Query(ctx, usesSQL, tenant)
	if err == nil {
		var uses []ProcessUse
		if uses, err = pgx.CollectRows(rows, pgx.RowToStructByName[ProcessUse]); err == nil {
			return uses, nil
		}
	}
	return nil, fmt.Errorf("read which configuration is in use: %w", err)
}
