package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// MappingsConfig is what [Mappings] are made of.
type MappingsConfig struct {
	Store *Store
	Log   *slog.Logger
	// Every is how often the versions are looked at where no hint came; 1 s where zero.
	Every time.Duration
}

// Mappings are every tenant's mapping tables in memory, for whoever looks up on the way
// of an event. They follow the database by version: within moments of a hint, and by
// polling without one; after a change they read only what has changed. All methods may
// be called from many goroutines at once.
type Mappings struct {
	config    MappingsConfig
	poked     chan struct{} // one token
	refreshes sync.Mutex    // one at a time
	snapshots atomic.Pointer[map[string]*MappingSnapshot]
}

// NewMappings checks the configuration. Everything is empty before [Mappings.Refresh].
func NewMappings(c MappingsConfig) (*Mappings, error) {
	if c.Store == nil {
		return nil, errors.New("mappings: a store is needed")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Every == 0 {
		c.Every = time.Second
	}
	m := &Mappings{config: c, poked: make(chan struct{}, 1)}
	m.snapshots.Store(&map[string]*MappingSnapshot{})
	return m, nil
}

// Run follows the database until the context ends. Without Postgres, readers keep what
// they have.
func (m *Mappings) Run(ctx context.Context) error {
	tick := time.NewTicker(m.config.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.poked:
		case <-tick.C:
		}
		if err := m.Refresh(ctx); err != nil && ctx.Err() == nil {
			m.config.Log.WarnContext(ctx, "the mapping tables are read again later", "error", err)
		}
	}
}

// Poke says that a tenant's mappings may have changed. It never waits.
func (m *Mappings) Poke() {
	select {
	case m.poked <- struct{}{}:
	default:
	}
}

// Snapshot is what a tenant's mappings are now. It never changes, so that whoever takes
// one for a request sees all of it at one version; a tenant without mappings has an empty
// one.
func (m *Mappings) Snapshot(tenant string) *MappingSnapshot {
	if s := (*m.snapshots.Load())[tenant]; s != nil {
		return s
	}
	return &noMappings
}

var noMappings MappingSnapshot

// Lookup is [MappingSnapshot.Lookup] in the tenant's newest snapshot.
func (m *Mappings) Lookup(tenant string, destination int32, table, value string) (MappingEntry, bool) {
	return m.Snapshot(tenant).Lookup(destination, table, value)
}

// Version is that of the tenant's newest snapshot.
func (m *Mappings) Version(tenant string) int64 { return m.Snapshot(tenant).Version() }

const (
	mappingVersionsSQL = `SELECT tenant, version FROM mapping_versions WHERE version > 0`
	mappingVersionSQL  = `SELECT version FROM mapping_versions WHERE tenant = $1`

	allMappingsSQL = `SELECT name, destination, value, target, version FROM mapping_entries WHERE tenant = $1`

	changedMappingsSQL = `
SELECT DISTINCT ON (name, destination, value) name, destination, value, coalesce(becomes, ''), version
  FROM mapping_history WHERE tenant = $1 AND version > $2
 ORDER BY name, destination, value, version DESC`
)

// MappingsVersion is that of the tenant's mappings in the database; 0 where there never were
// any.
func (s *Store) MappingsVersion(ctx context.Context, tenant string) (version int64, err error) {
	err = s.engine.QueryRow(ctx, mappingVersionSQL, tenant).Scan(&version)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("read the version of mappings: %w", err)
	}
	return version, nil
}

// Refresh reads what has changed since the last time. A tenant that cannot be read keeps
// what it has, and does not keep others from being read.
func (m *Mappings) Refresh(ctx context.Context) error {
	m.refreshes.Lock()
	defer m.refreshes.Unlock()
	rows, err := m.config.Store.engine.Query(ctx, mappingVersionsSQL)
	if err != nil {
		return fmt.Errorf("read the versions of mappings: %w", err)
	}
	known := *m.snapshots.Load()
	var changed []string
	var tenant string
	var version int64
	_, err = pgx.ForEachRow(rows, []any{&tenant, &version}, func() error {
		if s := known[tenant]; s == nil || s.version != version {
			changed = append(changed, tenant)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the versions of mappings: %w", err)
	}
	if len(changed) == 0 {
		return nil
	}
	next := maps.Clone(known)
	var failed error
	for _, tenant := range changed {
		s, err := m.read(ctx, tenant, known[tenant])
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("read the mappings of %s: %w", tenant, err))
			continue
		}
		next[tenant] = s
	}
	m.snapshots.Store(&next)
	return failed
}

// read makes a tenant's snapshot, of an earlier one where there is one: both the version
// and what stands behind it are of one moment.
func (m *Mappings) read(ctx context.Context, tenant string, before *MappingSnapshot) (s *MappingSnapshot, err error) {
	moment := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, m.config.Store.engine, moment, func(tx pgx.Tx) error {
		var version int64
		if err := tx.QueryRow(ctx, mappingVersionSQL, tenant).Scan(&version); err != nil {
			return err
		}
		if before == nil || before.version > version { // later than the database: it was put back
			before = &noMappings
		}
		sql, arguments := allMappingsSQL, []any{tenant}
		if before.version > 0 {
			sql, arguments = changedMappingsSQL, []any{tenant, before.version}
		}
		rows, err := tx.Query(ctx, sql, arguments...)
		if err != nil {
			return err
		}
		var table mappingTable
		var value string
		var e mapped
		changes := make(map[mappingTable]map[string]mapped)
		_, err = pgx.ForEachRow(rows, []any{&table.name, &table.destination, &value, &e.target, &e.version}, func() error {
			if changes[table] == nil {
				changes[table] = make(map[string]mapped)
			}
			changes[table][value] = e
			return nil
		})
		s = before.with(version, changes)
		return err
	})
	return s, err
}
