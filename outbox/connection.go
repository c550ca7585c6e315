package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrClaimLost: somebody else has renewed, replaced or dropped the connection meanwhile.
var ErrClaimLost = errors.New("the connection was changed by somebody else meanwhile")

// Connection is what is kept of a destination's authorisation, with the field names of
// [raffsync/connectors.Connection].
type Connection struct {
	Version         int64
	Secret          []byte
	ExpiresAt       time.Time
	RenewBy, WarnAt time.Time
	Problem         string
	Revoked         bool
	Lost            string
}

// ConnectionClaim is the right to renew a connection.
type ConnectionClaim struct {
	Granted     bool
	Version     int64
	ID          string
	Interrupted time.Time
}

// ConnectionFailure is why a renewal brought nothing.
type ConnectionFailure struct {
	Problem string
	Revoked bool
	Unknown bool
}

// Connections keeps what one destination was given. Its methods may be called from many
// goroutines at once. [Store.Close] waits a while for claims that are not ended.
type Connections struct {
	store       *Store
	tenant      string
	destination int32
}

// Connections of one destination.
func (s *Store) Connections(tenant string, destination int32) *Connections {
	return &Connections{s, tenant, destination}
}

const (
	loadConnectionSQL = `
SELECT version, key_id, sealed, expires_at, renew_by, warn_at, coalesce(problem, ''), revoked
  FROM connections WHERE tenant = $1 AND destination = $2`

	// claimConnectionSQL: an earlier request whose answer is not known keeps its time, so
	// that the row tells of it. Times of one statement are equal only where it set them.
	claimConnectionSQL = `
INSERT INTO connections AS c (tenant, destination, claim, claim_until, asked_at)
SELECT $1, $2, $4, now() + $5::interval, now()
 WHERE $3::bigint = 0 OR EXISTS (SELECT FROM connections WHERE tenant = $1 AND destination = $2)
ON CONFLICT (tenant, destination) DO UPDATE
  SET claim = excluded.claim, claim_until = excluded.claim_until, asked_at = coalesce(c.asked_at, excluded.asked_at)
  WHERE c.version = $3 AND (c.claim_until IS NULL OR c.claim_until <= now())
RETURNING CASE WHEN asked_at <> now() THEN asked_at END`

	saveConnectionSQL = `
UPDATE connections c
   SET version = c.version + 1, key_id = $5, sealed = $6, expires_at = $7, renew_by = $8, warn_at = $9, renewed_at = now(),
       problem = NULL, problem_at = NULL, revoked = false, claim = NULL, claim_until = NULL, asked_at = NULL
  FROM (SELECT tenant, destination, revoked FROM connections WHERE tenant = $1 AND destination = $2 FOR UPDATE) AS before
 WHERE c.tenant = before.tenant AND c.destination = before.destination AND c.version = $3 AND c.claim = $4
RETURNING c.version, before.revoked`

	// releaseConnectionSQL: what lasts is told once.
	releaseConnectionSQL = `
WITH changed AS (
  UPDATE connections c
     SET problem = nullif($5, ''), problem_at = CASE WHEN $5 <> '' THEN now() END, revoked = $6, claim = NULL, claim_until = NULL,
         asked_at = CASE WHEN $7 THEN c.asked_at ELSE $8 END
    FROM (SELECT tenant, destination, revoked FROM connections WHERE tenant = $1 AND destination = $2 FOR UPDATE) AS before
   WHERE c.tenant = before.tenant AND c.destination = before.destination AND c.version = $3 AND c.claim = $4
  RETURNING c.tenant, c.destination, c.problem, c.revoked AND NOT before.revoked AS news
), audited AS (
  INSERT INTO timeline (tenant, destination, what, reason) SELECT tenant, destination, 'connection', problem FROM changed WHERE news
)
SELECT count(*) FROM changed`

	auditConnectionSQL = `INSERT INTO timeline (tenant, destination, what, reason, actor) VALUES ($1, $2, 'connection', $3, $4)`
)

// Load returns what is kept; a zero Version says that nothing ever was. What cannot be
// opened is Lost, which says why, in words for people.
func (c *Connections) Load(ctx context.Context) (Connection, error) {
	if c.store.config.Keys == nil {
		return Connection{}, ErrNoKey
	}
	var k Connection
	var id *string
	var sealed []byte
	var expires, renewBy, warn *time.Time
	err := c.store.engine.QueryRow(ctx, loadConnectionSQL, c.tenant, c.destination).
		Scan(&k.Version, &id, &sealed, &expires, &renewBy, &warn, &k.Problem, &k.Revoked)
	if errors.Is(err, pgx.ErrNoRows) {
		return Connection{}, nil
	}
	if err != nil {
		return Connection{}, fmt.Errorf("load a connection: %w", err)
	}
	k.ExpiresAt, k.RenewBy, k.WarnAt = timeOf(expires), timeOf(renewBy), timeOf(warn)
	if id != nil {
		k.Secret, k.Lost = c.store.config.Keys.open(*id, sealed, bound(c.tenant, c.destination))
	}
	return k, nil
}

// Claim gives the right to renew the connection of this version, for so long, by the
// database's clock.
func (c *Connections) Claim(ctx context.Context, version int64, hold time.Duration) (ConnectionClaim, error) {
	claim := ConnectionClaim{Granted: true, Version: version, ID: rand.Text()}
	if !c.store.claims.begin(claim.ID) {
		return ConnectionClaim{}, errors.New("claim a connection: the store is closed")
	}
	var interrupted *time.Time
	err := c.store.engine.QueryRow(ctx, claimConnectionSQL, c.tenant, c.destination, version, claim.ID, hold).Scan(&interrupted)
	if err != nil {
		c.store.claims.end(claim.ID)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return ConnectionClaim{}, nil
	}
	if err != nil {
		return ConnectionClaim{}, fmt.Errorf("claim a connection: %w", err)
	}
	claim.Interrupted = timeOf(interrupted)
	return claim, nil
}

// Save keeps what the claim's request brought, as a new version, and ends the claim. An
// error other than [ErrClaimLost] leaves the claim: calling it again is harmless.
func (c *Connections) Save(ctx context.Context, claim ConnectionClaim, k Connection) (int64, error) {
	if c.store.config.Keys == nil {
		return 0, ErrNoKey
	}
	id, sealed := c.store.config.Keys.seal(k.Secret, bound(c.tenant, c.destination))
	var version int64
	err := pgx.BeginFunc(ctx, c.store.engine, func(tx pgx.Tx) error {
		var revoked bool
		err := tx.QueryRow(ctx, saveConnectionSQL, c.tenant, c.destination, claim.Version, claim.ID,
			id, sealed, timeOrNull(k.ExpiresAt), timeOrNull(k.RenewBy), timeOrNull(k.WarnAt)).Scan(&version, &revoked)
		if err == nil && revoked {
			err = c.store.reconnected(ctx, tx, Actor{Tenant: c.tenant}, c.destination, "the platform takes the credentials again")
		}
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrClaimLost
	}
	if err == nil || errors.Is(err, ErrClaimLost) {
		c.store.claims.end(claim.ID)
		return version, err
	}
	return 0, fmt.Errorf("save a connection: %w", err)
}

// Release ends a claim whose request brought nothing, and keeps why.
func (c *Connections) Release(ctx context.Context, claim ConnectionClaim, why ConnectionFailure) error {
	defer c.store.claims.end(claim.ID)
	var changed int
	err := c.store.engine.QueryRow(ctx, releaseConnectionSQL, c.tenant, c.destination, claim.Version, claim.ID,
		storable(why.Problem), why.Revoked, why.Unknown, timeOrNull(claim.Interrupted)).Scan(&changed)
	switch {
	case err != nil:
		return fmt.Errorf("release a connection: %w", err)
	case changed == 0:
		return ErrClaimLost
	}
	return nil
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
