package outbox

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrUnauthenticated: the key or the secret is wrong, or revoked. It does not say
// which.
var ErrUnauthenticated = errors.New("the credential is wrong or revoked")

// Credential is what a key proves.
type Credential struct {
	Tenant     string
	Source     int32
	SourceName string
	Prefix     string
	// Inside tells that it is a receiver's in the broker's own process, and stored nowhere.
	Inside bool
}

// Key is an API key as it is listed: without its secret.
type Key struct {
	Prefix    string     `json:"prefix"`
	Tenant    string     `json:"tenant"`
	Source    string     `json:"source"`
	CreatedAt time.Time  `json:"createdAt"`
	CreatedBy string     `json:"createdBy"`
	RevokedAt *time.Time `json:"revokedAt,omitempty"`
}

// A key is `rs_<prefix>_<secret>`: 8 hexadecimal digits that find it, 43 that prove it
// (256 bits, base64url).
const keyTag = "rs"

const (
	createKeySQL    = `INSERT INTO api_keys (prefix, tenant, source, hash, created_by) VALUES ($1, $2, $3, $4, $5)`
	auditKeySQL     = `INSERT INTO timeline (tenant, what, reason, actor) VALUES ($1, 'key', $2, $3)`
	authenticateSQL = `
SELECT k.tenant, k.source, s.name, k.prefix, k.hash FROM api_keys k JOIN sources s ON s.id = k.source WHERE k.prefix = $1 AND k.revoked_at IS NULL`
	keysSQL = `
SELECT k.prefix, k.tenant, s.name AS source, k.created_at, k.created_by, k.revoked_at
  FROM api_keys k JOIN sources s ON s.id = k.source WHERE k.tenant = $1 ORDER BY k.created_at DESC, k.prefix`
	revokeKeySQL = `UPDATE api_keys SET revoked_at = now() WHERE prefix = $1 AND tenant = $2 AND revoked_at IS NULL`
)

// CreateKey makes a key for a source of the tenant's configuration. The key is
// returned this once; only its hash is stored. The source need not be configured
// yet: what it sends is then unrouted.
func (s *Store) CreateKey(ctx context.Context, actor Actor, source string) (string, error) {
	if source == NoticeSource {
		return "", fmt.Errorf("%q is the source of what this installation says itself, and has no key", source)
	}
	prefix, err := randomPrefix()
	if err != nil {
		return "", err
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(secret)
	hash := sha256.Sum256([]byte(text))
	err = pgx.BeginFunc(ctx, s.engine, func(tx pgx.Tx) error {
		id, err := nameID(ctx, tx, sourceIDSQL, actor.Tenant, source)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, createKeySQL, prefix, actor.Tenant, id, hash[:], actor.Name); err != nil {
			return err
		}
		return auditKey(ctx, tx, actor, "key "+prefix+" of source "+source+" created")
	})
	if err != nil {
		return "", fmt.Errorf("create a key: %w", err)
	}
	return keyTag + "_" + prefix + "_" + text, nil
}

func randomPrefix() (string, error) {
	b := make([]byte, 4)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return hex.EncodeToString(b), nil
}

func isPrefix(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 4
}

func auditKey(ctx context.Context, tx pgx.Tx, actor Actor, reason string) error {
	_, err := tx.Exec(ctx, auditKeySQL, actor.Tenant, reason, actor.Name)
	return err
}

// Authenticate finds what a key proves, or returns [ErrUnauthenticated].
func (s *Store) Authenticate(ctx context.Context, key string) (Credential, error) {
	parts := strings.SplitN(key, "_", 3)
	if len(parts) != 3 || parts[0] != keyTag || !isPrefix(parts[1]) {
		return Credential{}, ErrUnauthenticated
	}
	var c Credential
	var hash []byte
	err := s.engine.QueryRow(ctx, authenticateSQL, parts[1]).Scan(&c.Tenant, &c.Source, &c.SourceName, &c.Prefix, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return Credential{}, ErrUnauthenticated
	}
	if err != nil {
		return Credential{}, fmt.Errorf("authenticate: %w", err)
	}
	given := sha256.Sum256([]byte(parts[2]))
	if subtle.ConstantTimeCompare(given[:], hash) != 1 {
		return Credential{}, ErrUnauthenticated
	}
	return c, nil
}

// Keys lists a tenant's keys, the newest first.
func (s *Store) Keys(ctx context.Context, tenant string) ([]Key, error) {
	rows, err := s.engine.Query(ctx, keysSQL, tenant)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Key])
}

// RevokeKey ends a key. Streams that use it end within seconds.
func (s *Store) RevokeKey(ctx context.Context, actor Actor, prefix string) error {
	return pgx.BeginFunc(ctx, s.engine, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, revokeKeySQL, prefix, actor.Tenant)
		if err != nil {
			return fmt.Errorf("revoke a key: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("key %q: %w among the keys in force of tenant %q", prefix, ErrNotFound, actor.Tenant)
		}
		return auditKey(ctx, tx, actor, "key "+prefix+" revoked")
	})
}
