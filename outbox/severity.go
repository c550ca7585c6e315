package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// SeverityConfig is a rule for how much an exception matters.
type SeverityConfig struct {
	// When is a CEL condition over class, destination, source, held, exposure and age; empty
	// means always.
	When string `json:"when,omitempty"`
	// Is LOW, MEDIUM, HIGH or CRITICAL.
	Is string `json:"is"`
}

// ExceptionFacts are what rules for severity see of an open exception.
type ExceptionFacts struct {
	Number                     int64
	Class, Destination, Source string
	Held                       int64
	Age                        time.Duration      // since it was raised
	Exposure                   map[string]float64 // money by currency
	// Default is the severity by class, which holds where no rule does.
	Default, Severity string
}

// mostSeverities are looked at of one tenant in one sweep: those that opened first.
const mostSeverities = 10_000

const (
	severityFactsSQL = `
SELECT x.id, x.class, coalesce(d.name, ''), coalesce(s.name, ''), x.held, (extract(epoch FROM now() - x.opened_at) * 1000000)::bigint,
       coalesce((SELECT jsonb_object_agg(e.currency, e.amount) FROM exposures e WHERE e.exception = x.id AND e.currency <> ''), '{}'),
       raffsync_severity(x.class), x.severity
  FROM (SELECT * FROM exceptions WHERE tenant = $1 AND closed_at IS NULL ORDER BY opened_at, id LIMIT $2) AS x
  LEFT JOIN destinations d ON d.id = x.destination
  LEFT JOIN sources s ON s.id = x.source`

	// setSeveritySQL locks in the order in which everybody does. It leaves the version
	// alone: nobody has decided anything.
	setSeveritySQL = `
WITH locked AS MATERIALIZED (
  SELECT id, severity AS before FROM exceptions WHERE id = ANY ($1) AND closed_at IS NULL ORDER BY ` + lockOrder + ` FOR NO KEY UPDATE
), changed AS (
  UPDATE exceptions x SET severity = f.severity
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS f(id, severity, why) JOIN locked USING (id)
   WHERE x.id = locked.id AND x.severity <> f.severity
  RETURNING x.tenant, x.id, x.destination, before, x.severity, f.why
)
INSERT INTO timeline (tenant, exception, destination, what, reason, detail)
SELECT tenant, id, nullif(destination, 0), 'severity', why, jsonb_build_object('from', before, 'to', severity) FROM changed`
)

// Severities has a tenant's open exceptions looked at by its rules, of which the first that
// holds decides, with its words for the timeline; "" leaves the default of the class. Each
// change has its entry in the same transaction.
func (w *Sweeper) Severities(ctx context.Context, tenant string, of func(*ExceptionFacts) (severity, why string)) error {
	rows, err := w.pool.Query(ctx, severityFactsSQL, tenant, mostSeverities)
	if err != nil {
		return fmt.Errorf("look at severities: %w", err)
	}
	var ids []int64
	var severities, reasons []string
	var f ExceptionFacts
	var age int64
	_, err = pgx.ForEachRow(rows, []any{&f.Number, &f.Class, &f.Destination, &f.Source, &f.Held, &age, &f.Exposure, &f.Default, &f.Severity}, func() error {
		f.Age = time.Duration(age) * time.Microsecond
		severity, why := of(&f)
		if severity == "" {
			severity, why = f.Default, "as its class says: no rule holds"
		}
		if severity != f.Severity {
			ids, severities, reasons = append(ids, f.Number), append(severities, severity), append(reasons, why)
		}
		f.Exposure = nil // not to be added to
		return nil
	})
	if err == nil && len(ids) > 0 {
		_, err = w.pool.Exec(ctx, setSeveritySQL, ids, severities, reasons)
	}
	if err != nil {
		return fmt.Errorf("look at severities: %w", err)
	}
	return nil
}
