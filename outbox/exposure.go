package outbox

import (
	"context"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
)

// Exposure is what one delivery is worth while it is held, by the expressions of its
// route. Amount and Units are decimals, as 31000 or -12.50; "" where the route names none.
// Without an amount the currency is "".
type Exposure struct {
	Currency, Amount, Units string
}

// CheckExposure tells whether an exposure can be stored: a currency of three capital
// letters, decimals of at most 18 digits before the point and 6 behind.
func CheckExposure(e Exposure) error {
	for name, text := range map[string]string{"amount": e.Amount, "units": e.Units} {
		if text != "" && !exactDecimal.MatchString(text) {
			return fmt.Errorf("%s is no decimal of at most 18 digits before the point and 6 behind", name)
		}
	}
	if e.Currency != "" && !currencyCode.MatchString(e.Currency) {
		return fmt.Errorf("the currency is not three capital letters")
	}
	if (e.Amount == "") != (e.Currency == "") {
		return fmt.Errorf("an amount needs a currency, and a currency an amount")
	}
	return nil
}

var (
	exactDecimal = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,6})?$`)
	currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)
)

const (
	// putOnSQL and takeOffSQL come after the rows of the exceptions are locked, so that
	// nobody else is at their exposures; the order is for those who look.
	putOnSQL = `
INSERT INTO exposures (exception, currency, tenant, amount, units, deliveries)
SELECT exception, currency, tenant, coalesce(sum(nullif(amount, '')::numeric), 0), coalesce(sum(nullif(units, '')::numeric), 0), sum(n)
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[]) AS f(exception, currency, tenant, n, amount, units)
 GROUP BY exception, currency, tenant ORDER BY exception, currency
ON CONFLICT (exception, currency) DO UPDATE
  SET amount = exposures.amount + excluded.amount, units = exposures.units + excluded.units, deliveries = exposures.deliveries + excluded.deliveries`

	takeOffSQL = `
UPDATE exposures e SET amount = e.amount - f.amount, units = e.units - f.units, deliveries = e.deliveries - f.n
  FROM (SELECT exception, currency, coalesce(sum(nullif(amount, '')::numeric), 0) AS amount, coalesce(sum(nullif(units, '')::numeric), 0) AS units, sum(n) AS n
          FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[]) AS f(exception, currency, n, amount, units)
         GROUP BY exception, currency) AS f
 WHERE e.exception = f.exception AND e.currency = f.currency`

	dropExposuresSQL = `DELETE FROM exposures WHERE exception = ANY ($1) AND deliveries <= 0`
)

// exposureColumns are deltas of exposures, turned on their side for unnest.
type exposureColumns struct {
	exceptions                         []int64
	currencies, tenants, amount, units []string
	n                                  []int64
}

func (c *exposureColumns) add(exception int64, tenant string, n int64, e Exposure) {
	c.exceptions, c.tenants, c.n = append(c.exceptions, exception), append(c.tenants, tenant), append(c.n, n)
	c.currencies, c.amount, c.units = append(c.currencies, e.Currency), append(c.amount, e.Amount), append(c.units, e.Units)
}

// putOn costs nothing where no route says what its deliveries are worth.
func (c *exposureColumns) putOn(ctx context.Context, tx pgx.Tx) error {
	if len(c.exceptions) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, putOnSQL, c.exceptions, c.currencies, c.tenants, c.n, c.amount, c.units)
	return err
}

func (c *exposureColumns) takeOff(ctx context.Context, tx pgx.Tx) error {
	if len(c.exceptions) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, takeOffSQL, c.exceptions, c.currencies, c.n, c.amount, c.units); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, dropExposuresSQL, c.exceptions)
	return err
}
