package outbox

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const (
	// putAtSQL and takeFromSQL come after the rows of the exceptions are locked, as those of
	// exposures do.
	putAtSQL = `
INSERT INTO held_outlets (exception, outlet, tenant, held)
SELECT exception, outlet, tenant, sum(n) FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS f(exception, outlet, tenant, n)
 GROUP BY exception, outlet, tenant ORDER BY exception, outlet
ON CONFLICT (exception, outlet) DO UPDATE SET held = held_outlets.held + excluded.held`

	takeFromSQL = `
UPDATE held_outlets o SET held = o.held - f.n
  FROM (SELECT exception, outlet, sum(n) AS n FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS f(exception, outlet, n) GROUP BY exception, outlet) AS f
 WHERE o.exception = f.exception AND o.outlet = f.outlet`
)

// outletColumns are deltas of what exceptions hold by outlet, turned on their side for
// unnest. Events without an outlet cost nothing.
type outletColumns struct {
	exceptions       []int64
	outlets, tenants []string
	n                []int64
}

func (c *outletColumns) add(exception int64, tenant string, n int64, outlet string) {
	if outlet == "" {
		return
	}
	c.exceptions, c.outlets = append(c.exceptions, exception), append(c.outlets, outlet)
	c.tenants, c.n = append(c.tenants, tenant), append(c.n, n)
}

func (c *outletColumns) putOn(ctx context.Context, tx pgx.Tx) error {
	if len(c.exceptions) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, putAtSQL, c.exceptions, c.outlets, c.tenants, c.n)
	return err
}

func (c *outletColumns) takeOff(ctx context.Context, tx pgx.Tx) error {
	if len(c.exceptions) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, takeFromSQL, c.exceptions, c.outlets, c.n)
	return err
}
