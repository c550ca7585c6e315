package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"
)

// Operator is a person's login as it is listed: without its secret.
type Operator struct {
	Name      string     `json:"name"`
	Tenant    string     `json:"tenant"`
	CreatedAt time.Time  `json:"createdAt"`
	CreatedBy string     `json:"createdBy"`
	RevokedAt *time.Time `json:"revokedAt,omitempty"`
}

const (
	setOperatorSQL = `
INSERT INTO operators (name, tenant, hash, created_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, revoked_at = NULL WHERE operators.tenant = excluded.tenant`
	operatorSQL       = `SELECT tenant, hash FROM operators WHERE name = $1 AND revoked_at IS NULL`
	operatorsSQL      = `SELECT name, tenant, created_at, created_by, revoked_at FROM operators WHERE tenant = $1 ORDER BY name`
	revokeOperatorSQL = `UPDATE operators SET revoked_at = now() WHERE name = $1 AND tenant = $2 AND revoked_at IS NULL`
)

// SetOperator gives a person a secret, at most 72 bytes. It replaces an earlier one.
func (s *Store) SetOperator(ctx context.Context, actor Actor, name, secret string) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.DefaultCost)
	if err != nil {
		return fmt.Errorf("operator %q: %w", name, err)
	}
	return pgx.BeginFunc(ctx, s.engine, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, setOperatorSQL, name, actor.Tenant, string(hash), actor.Name)
		if err != nil {
			return fmt.Errorf("operator %q: %w", name, err)
		}
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("operator %q is taken; choose another name", name)
		}
		return auditKey(ctx, tx, actor, "operator "+name+" given a secret")
	})
}

// noOperator is compared against where there is no such operator, so that the time
// of the answer does not tell.
var noOperator = sync.OnceValue(func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), bcrypt.DefaultCost)
	if err != nil {
		panic(err) // only for a text of more than 72 bytes
	}
	return string(hash)
})

// AuthenticateOperator finds who a name and secret are, or returns
// [ErrUnauthenticated]. It takes some 50 ms of a core, by design of bcrypt.
func (s *Store) AuthenticateOperator(ctx context.Context, name, secret string) (Actor, error) {
	var tenant, hash string
	err := s.engine.QueryRow(ctx, operatorSQL, name).Scan(&tenant, &hash)
	unknown := errors.Is(err, pgx.ErrNoRows) || stateClass(err) == "22" // no text of Postgres: so nobody's name
	if err != nil && !unknown {
		return Actor{}, fmt.Errorf("authenticate: %w", err)
	}
	if unknown {
		hash = noOperator()
	}
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(secret)); err != nil || unknown {
		return Actor{}, ErrUnauthenticated
	}
	return Actor{Tenant: tenant, Name: name}, nil
}

// Operators lists a tenant's operators by name, those whose login has ended too.
func (s *Store) Operators(ctx context.Context, tenant string) ([]Operator, error) {
	rows, err := s.engine.Query(ctx, operatorsSQL, tenant)
	if err != nil {
		return nil, fmt.Errorf("list operators: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Operator])
}

// RevokeOperator ends an operator's login: at once for whoever asks anew, within a
// minute for whoever is logged in.
func (s *Store) RevokeOperator(ctx context.Context, actor Actor, name string) error {
	return pgx.BeginFunc(ctx, s.engine, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, revokeOperatorSQL, name, actor.Tenant)
		if err != nil {
			return fmt.Errorf("revoke an operator: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("operator %q: %w among the logins in force of tenant %q", name, ErrNotFound, actor.Tenant)
		}
		return auditKey(ctx, tx, actor, "operator "+name+" revoked")
	})
}
