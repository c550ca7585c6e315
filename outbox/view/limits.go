package view

import (
	"context"
	"time"
)

// limits of a destination, as far as they are reached.
type limits struct {
	Destination int32
	// RateFreeAt is when the rate has room for a request; it may be past.
	RateFreeAt *time.Time
	// QuotaUntil is when a quota that is used up is reset; nil where there is some left.
	QuotaUntil *time.Time
	// Busy: every slot is in use, and more deliveries are ready to go.
	Busy bool
}

// A share of a replica that has died counts until its lease ends, which is soon: the
// row goes with it.
var limitsReached = register("limits", `
SELECT t.destination, t.rate_free_at,
       CASE WHEN t.quota_limit > 0 AND t.quota_used >= t.quota_limit THEN t.quota_until END AS quota_until,
       EXISTS (SELECT FROM shares s WHERE s.destination = t.destination AND s.busy) AS busy
  FROM throttles t`)

func (t *Tx) limits(ctx context.Context) (map[int32]limits, error) {
	rows, err := collect[limits](ctx, t, "limits", limitsReached)
	of := make(map[int32]limits, len(rows))
	for _, r := range rows {
		of[r.Destination] = *r
	}
	return of, err
}
