package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ClassAuthExpiring is the class of the exception of a connection that is lost soon unless
// it is renewed. It resolves by itself when that has happened.
const ClassAuthExpiring = "AUTH_EXPIRING"

// ConnectionStatus is how a connection stands, without what is kept.
type ConnectionStatus struct {
	Destination string     `json:"destination"`
	Connected   bool       `json:"connected"`
	ConnectedAt *time.Time `json:"connectedAt,omitempty"`
	ConnectedBy *string    `json:"connectedBy,omitempty"`
	RenewedAt   *time.Time `json:"renewedAt,omitempty"`
	ExpiresAt   *time.Time `json:"expiresAt,omitempty"`
	RenewBy     *time.Time `json:"renewBy,omitempty"`
	Problem     *string    `json:"problem,omitempty"`
	ProblemAt   *time.Time `json:"problemAt,omitempty"`
	Revoked     bool       `json:"revoked"`
	KeyID       *string    `json:"keyId,omitempty"`
}

const (
	connectSQL = `
INSERT INTO connections AS c (tenant, destination, version, key_id, sealed, connected_at, connected_by, renewed_at, expires_at, renew_by, warn_at)
VALUES ($1, $2, 1, $3, $4, now(), $5, now(), $6, $7, $8)
ON CONFLICT (tenant, destination) DO UPDATE
  SET version = c.version + 1, key_id = excluded.key_id, sealed = excluded.sealed, connected_at = now(), connected_by = excluded.connected_by,
      renewed_at = now(), expires_at = excluded.expires_at, renew_by = excluded.renew_by, warn_at = excluded.warn_at,
      problem = NULL, problem_at = NULL, revoked = false, claim = NULL, claim_until = NULL, asked_at = NULL
RETURNING version`

	disconnectSQL = `
UPDATE connections
   SET version = version + 1, key_id = NULL, sealed = NULL, connected_at = NULL, connected_by = NULL, renewed_at = NULL, expires_at = NULL,
       renew_by = NULL, warn_at = NULL, problem = NULL, problem_at = NULL, revoked = false, claim = NULL, claim_until = NULL, asked_at = NULL
 WHERE tenant = $1 AND destination = $2 AND sealed IS NOT NULL`

	connectionsSQL = `
SELECT d.name AS destination, c.sealed IS NOT NULL AS connected, c.connected_at, c.connected_by, c.renewed_at, c.expires_at, c.renew_by,
       c.problem, c.problem_at, c.revoked, c.key_id
  FROM connections c JOIN destinations d ON d.id = c.destination
 WHERE c.tenant = $1 ORDER BY d.name`

	// expiringSQL: one that is revoked already is no warning's business.
	expiringSQL = `
WITH expiring AS (
  SELECT c.tenant, c.destination, 'the connection is lost at ' || to_char(c.renew_by, 'YYYY-MM-DD HH24:MI') || ' UTC unless it is renewed: connect again' AS reason
    FROM connections c
   WHERE c.warn_at <= now() AND c.sealed IS NOT NULL AND NOT c.revoked
     AND NOT EXISTS (SELECT FROM exceptions x WHERE x.tenant = c.tenant AND x.destination = c.destination AND x.class = '` + ClassAuthExpiring + `'
                        AND (x.closed_at IS NULL OR x.status = 'DISMISSED' AND x.closed_at > c.renewed_at))
), raised AS (
  INSERT INTO exceptions (tenant, class, destination, sample) SELECT tenant, '` + ClassAuthExpiring + `', destination, reason FROM expiring
  ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL DO NOTHING
  RETURNING tenant, id, destination, sample
)
INSERT INTO timeline (tenant, exception, destination, what, reason) SELECT tenant, id, destination, 'exception', sample FROM raised`

	resolveExpiringSQL = `
WITH resolved AS (
  UPDATE exceptions x SET status = 'RESOLVED', closed_at = now(), version = x.version + 1
    FROM connections c
   WHERE x.class = '` + ClassAuthExpiring + `' AND x.closed_at IS NULL AND c.tenant = x.tenant AND c.destination = x.destination
     AND (c.warn_at IS NULL OR c.warn_at > now() OR c.revoked)
  RETURNING x.tenant, x.id, x.destination,
            CASE WHEN c.revoked THEN 'the connection is lost' WHEN c.sealed IS NULL THEN 'it was disconnected' ELSE 'the connection was renewed' END AS reason
)
INSERT INTO timeline (tenant, exception, destination, what, reason) SELECT tenant, id, destination, 'resolved', reason FROM resolved`
)

// Connect keeps what a person has agreed to, in place of whatever was kept before, with a
// timeline entry in the same transaction. What is held because the authorisation was gone
// goes on. It returns the new version.
func (s *Store) Connect(ctx context.Context, actor Actor, destination int32, k Connection) (version int64, err error) {
	if s.config.Keys == nil {
		return 0, ErrNoKey
	}
	id, sealed := s.config.Keys.seal(k.Secret, bound(actor.Tenant, destination))
	err = pgx.BeginFunc(ctx, s.engine, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, connectSQL, actor.Tenant, destination, id, sealed, actor.Name,
			timeOrNull(k.ExpiresAt), timeOrNull(k.RenewBy), timeOrNull(k.WarnAt)).Scan(&version)
		if err != nil {
			return err
		}
		return s.reconnected(ctx, tx, actor, destination, "connected")
	})
	if err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	return version, nil
}

// Disconnect forgets what is kept. Replicas use it no more within seconds. It returns
// [ErrNotFound] where there is nothing.
func (s *Store) Disconnect(ctx context.Context, actor Actor, destination int32, reason string) error {
	err := pgx.BeginFunc(ctx, s.engine, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, disconnectSQL, actor.Tenant, destination)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return ErrNotFound
		}
		_, err = tx.Exec(ctx, auditConnectionSQL, actor.Tenant, destination, "disconnected: "+reason, actor.Name)
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("disconnect: %w", err)
	}
	return err
}

// ConnectionsOf lists how a tenant's connections stand, by the names of destinations.
func (s *Store) ConnectionsOf(ctx context.Context, tenant string) ([]ConnectionStatus, error) {
	rows, err := s.engine.Query(ctx, connectionsSQL, tenant)
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[ConnectionStatus])
}

// reconnected tells, in the transaction that makes it so, that a destination's
// authorisation works again: by a person, or, where nobody has to agree, by a platform that
// takes the credentials again. Whatever waits for that goes on from here.
func (s *Store) reconnected(ctx context.Context, tx pgx.Tx, actor Actor, destination int32, reason string) error {
	_, err := tx.Exec(ctx, auditConnectionSQL, actor.Tenant, destination, reason, nullText(actor.Name))
	return err
}

// Expiring raises an exception for each connection that is lost soon, and resolves those
// of connections that were renewed, connected again, or lost.
func (w *Sweeper) Expiring(ctx context.Context) error {
	batch := &pgx.Batch{}
	batch.Queue(expiringSQL)
	batch.Queue(resolveExpiringSQL)
	if err := w.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("look for connections that end: %w", err)
	}
	return nil
}
