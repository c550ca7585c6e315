package outbox

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Webhook is a quarantined one that is to be evaluated again.
type Webhook struct {
	Number      int64 // names it
	Tenant      string
	Source      int32
	ContentType string
	Headers     map[string]string // names in lower case
	Query       string
	BodyBytes   int64 // of the whole body
	BodySHA256  []byte
	Body        []byte // its beginning, where it is longer than that
}

const (
	askWebhooksSQL = `
WITH asked AS (
  UPDATE quarantined SET asked_by = $2, asked_why = $3 WHERE exception = $1 RETURNING tenant
), audited AS (
  INSERT INTO timeline (tenant, exception, what, reason, actor)
  SELECT tenant, $1, 'retry', 'its webhooks are evaluated again: ' || $3, $2 FROM asked GROUP BY tenant
)
SELECT count(*) FROM asked`

	// markWebhooksSQL is askWebhooksSQL for a step, which tells of itself.
	markWebhooksSQL = `UPDATE quarantined SET asked_by = $2, asked_why = $3 WHERE exception = $1`

	// leaveWebhooksSQL: what somebody has put aside becomes no event, whoever had asked for it.
	leaveWebhooksSQL = `UPDATE quarantined SET asked_by = NULL, asked_why = NULL WHERE exception = $1 AND asked_by IS NOT NULL`

	askedWebhooksSQL = `
SELECT number, tenant, source, content_type, coalesce(headers, '{}'::jsonb) AS headers, query, body_bytes, body_sha256, body
  FROM quarantined WHERE asked_by IS NOT NULL AND number > $1 ORDER BY number LIMIT $2`

	// releaseWebhookSQL: of two processes that evaluate one, the second changes nothing.
	releaseWebhookSQL = `
WITH released AS (
  DELETE FROM quarantined WHERE number = $1 AND asked_by IS NOT NULL RETURNING exception, asked_by, asked_why
), freed AS (
  UPDATE exceptions x
     SET held = x.held - 1, version = x.version + 1,
         status = CASE WHEN x.held = 1 THEN 'RESOLVED' ELSE x.status END,
         closed_at = CASE WHEN x.held = 1 THEN now() ELSE x.closed_at END
    FROM released r WHERE x.id = r.exception AND x.closed_at IS NULL
  RETURNING x.tenant, x.id, x.status, r.asked_by, r.asked_why
)
INSERT INTO timeline (tenant, exception, what, reason, actor)
SELECT tenant, id, 'resolved', asked_why, asked_by FROM freed WHERE status = 'RESOLVED'`

	keepWebhookSQL = `UPDATE quarantined SET asked_by = NULL, asked_why = NULL, reason = $2 WHERE number = $1 AND asked_by IS NOT NULL`
)

// AskWebhooks has every webhook that an exception of class QUARANTINED keeps evaluated
// again, by the expressions that are in force then. Running processes do so within
// seconds. It returns how many there are; [ErrNotFound] where there are none.
func (s *Store) AskWebhooks(ctx context.Context, actor Actor, exception int64, reason string) (n int64, err error) {
	if err := validateRequest("-", reason); err != nil {
		return 0, err
	}
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, askWebhooksSQL, exception, actor.Name, strings.TrimSpace(reason)).Scan(&n)
	})
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return n, err
}

// AskedWebhooks are those that are to be evaluated again, of every tenant, after a number.
func (s *Store) AskedWebhooks(ctx context.Context, after int64, most int) ([]Webhook, error) {
	rows, err := s.engine.Query(ctx, askedWebhooksSQL, after, most)
	if err != nil {
		return nil, fmt.Errorf("look for webhooks to evaluate again: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Webhook])
}

// ReleaseWebhook lets go of a webhook that has become an event, which is durable. The
// exception that kept it resolves with the last.
func (s *Store) ReleaseWebhook(ctx context.Context, number int64) error {
	_, err := s.engine.Exec(ctx, releaseWebhookSQL, number)
	return err
}

// KeepWebhook notes that still no event can be made of it, and why.
func (s *Store) KeepWebhook(ctx context.Context, number int64, reason string) error {
	_, err := s.engine.Exec(ctx, keepWebhookSQL, number, storable(reason))
	return err
}
