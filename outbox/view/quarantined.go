package view

import (
	"context"
	"encoding/hex"
	"time"
)

// Quarantined is a webhook of which no event can be made.
type Quarantined struct {
	Number      int64
	ID          string
	ReceivedAt  time.Time
	Source      string
	Reason      string
	ContentType string
	Headers     map[string]string
	Query       string
	BodyBytes   int64
	BodyHash    []byte `db:"body_sha256"`
	Body        []byte // its beginning, where it is longer than that
	Asked       bool   // to be evaluated again, and that is not done yet
}

// BodySha256 is the hash of the whole body in hexadecimal.
func (q *Quarantined) BodySha256() string { return hex.EncodeToString(q.BodyHash) }

var quarantinedOfException = register("quarantined of an exception", `
SELECT q.number, q.id, q.received_at, s.name AS source, q.reason, q.content_type, coalesce(q.headers, '{}'::jsonb) AS headers, q.query,
       q.body_bytes, q.body_sha256, q.body, q.asked_by IS NOT NULL AS asked
  FROM quarantined q
  JOIN sources s ON s.id = q.source
 WHERE q.exception = $1 AND q.number > $2
 ORDER BY q.number
 LIMIT $3`)

// Quarantined lists the webhooks that an exception keeps, the oldest first.
func (t *Tx) Quarantined(ctx context.Context, exception int64, first int, after string) (Page[*Quarantined], error) {
	var page Page[*Quarantined]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	var from int64
	if after != "" {
		d := openCursor(listQuarantine, after)
		if from = d.int64(); !d.done() {
			return page, ErrCursor
		}
	}
	var err error
	page.Nodes, err = collect[Quarantined](ctx, t, "quarantined webhooks", quarantinedOfException, exception, from, first+1)
	page.cut(first, func(q *Quarantined) string { return newCursor(listQuarantine).int64(q.Number).String() })
	return page, err
}
