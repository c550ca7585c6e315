package view

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// MaxFirst is the most rows of one page.
	MaxFirst = 100
	// Budget is the most rows that one page examines to find those that match.
	Budget = 10_000
)

// ErrPage: the size of a page is not between 1 and [MaxFirst].
var ErrPage = errors.New("first must be between 1 and 100")

// ErrText: a text to look for holds the character U+0000, which no text here does.
var ErrText = errors.New("a text holds the character U+0000; leave it out")

// View reads the outbox. Its methods may be called from many goroutines at once.
type View struct {
	pool *pgxpool.Pool
}

// New makes a view over a pool whose sessions run under the role raffsync_api.
func New(pool *pgxpool.Pool) *View { return &View{pool: pool} }

// Tx is a transaction that sees one tenant, in one snapshot. One goroutine uses it.
type Tx struct {
	tx     pgx.Tx
	tenant string
}

// Page is one stretch of a list.
type Page[T any] struct {
	Nodes []T
	// EndCursor is where to go on from; empty where there is nothing to go on from.
	EndCursor string
	// HasNext: more rows exist, or more have yet to be examined.
	HasNext bool
}

// cut ends a page that was read with one row more than it may hold.
func (p *Page[T]) cut(first int, cursor func(T) string) {
	if p.HasNext = len(p.Nodes) > first; p.HasNext {
		p.Nodes = p.Nodes[:first]
		p.EndCursor = cursor(p.Nodes[first-1])
	}
}

// Plans must not flip with the statistics of a partition that is a day old, and
// planning over years of partitions costs more than these reads: so the plan is the
// generic one, never a sequential scan where an index serves, nor all of a table read and
// sorted for fear of a disk with arms, and never compiled, which takes longer than these
// statements run.
var enterTenant = register("enter a tenant", `
SELECT row_security_active('events')
  FROM (SELECT set_config('raffsync.tenant', $1, true),
               set_config('plan_cache_mode', 'force_generic_plan', true),
               set_config('enable_seqscan', 'off', true),
               set_config('random_page_cost', '1.1', true),
               set_config('jit', 'off', true)) AS settings`)

// As runs f in a read-only transaction that sees nothing but this tenant. The
// settings end with the transaction, however it ends.
func (v *View) As(ctx context.Context, tenant string, f func(*Tx) error) error {
	return v.as(ctx, tenant, pgx.RepeatableRead, f)
}

func (v *View) as(ctx context.Context, tenant string, level pgx.TxIsoLevel, f func(*Tx) error) error {
	if tenant == "" {
		return errors.New("no tenant is named")
	}
	options := pgx.TxOptions{IsoLevel: level, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, v.pool, options, func(tx pgx.Tx) error {
		var guarded bool
		if err := tx.QueryRow(ctx, enterTenant, tenant).Scan(&guarded); err != nil {
			return fmt.Errorf("enter the tenant: %w", err)
		}
		if !guarded {
			return errors.New("row-level security does not bind this role; the pool must run under raffsync_api")
		}
		return f(&Tx{tx: tx, tenant: tenant})
	})
}

// statement is SQL of this package.
type statement struct{ name, sql string }

// statements lists all of it, so that a test prepares each one and looks at its plan.
var statements []statement

func register(name, sql string) string {
	statements = append(statements, statement{name, sql})
	return sql
}

// collect reads rows into structs by the names of their columns.
func collect[T any](ctx context.Context, t *Tx, what, sql string, args ...any) ([]*T, error) {
	for _, a := range args {
		if text, ok := a.(string); ok && strings.ContainsRune(text, 0) {
			return nil, ErrText // no stored text holds one, and Postgres takes none
		}
	}
	rows, err := t.tx.Query(ctx, sql, args...)
	if err == nil {
		var found []*T
		if found, err = pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[T]); err == nil {
			return found, nil
		}
	}
	return nil, fmt.Errorf("read %s: %w", what, err)
}

func checkFirst(first int) error {
	if first < 1 || first > MaxFirst {
		return ErrPage
	}
	return nil
}
