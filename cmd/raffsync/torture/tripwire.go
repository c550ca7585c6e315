package torture

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// tripwireSQL has the database itself note what a replica stores on a lane that another
// one holds, in the transaction that stores it: neither the clients nor the platforms can
// see that, as long as something else stands in the way. Whoever is fenced holds the lanes'
// rows until it commits, so that it is never accused for what happens meanwhile.
//
// Intents bear the number of their replica; what becomes of deliveries is told by the
// session's name.
//
// It notes too when each replica joined: their own rows go when they do.
const tripwireSQL = `
CREATE SCHEMA torture;
CREATE TABLE torture.trespasses (at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL, replica bigint NOT NULL, lane smallint NOT NULL, holder bigint);

CREATE TABLE torture.joins (at timestamptz NOT NULL DEFAULT clock_timestamp());

CREATE FUNCTION torture.joined() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
  INSERT INTO torture.joins DEFAULT VALUES;
  RETURN NULL;
END $$;
CREATE TRIGGER torture AFTER INSERT ON replicas FOR EACH ROW EXECUTE FUNCTION torture.joined();

CREATE FUNCTION torture.intended() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
  INSERT INTO torture.trespasses (what, replica, lane, holder)
  SELECT 'an intent', NEW.replica, lane, replica FROM lanes WHERE lane = ANY (NEW.lanes) AND replica IS DISTINCT FROM NEW.replica;
  RETURN NULL;
END $$;
CREATE TRIGGER torture AFTER INSERT ON intents FOR EACH ROW EXECUTE FUNCTION torture.intended();

CREATE FUNCTION torture.finished() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
  me bigint := substring(current_setting('application_name') FROM '^raffsync replica (\d+)$');
BEGIN
  IF me IS NOT NULL THEN
    INSERT INTO torture.trespasses (what, replica, lane, holder)
    SELECT DISTINCT 'an outcome', me, lane, l.replica FROM gone JOIN lanes l USING (lane) WHERE l.replica IS DISTINCT FROM me;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER torture_update AFTER UPDATE ON deliveries REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION torture.finished();
CREATE TRIGGER torture_delete AFTER DELETE ON deliveries REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION torture.finished();
`

const trespassesSQL = `
SELECT format('replica %s stored %s on lane %s, which %s held', replica, what, lane, coalesce('replica ' || holder, 'nobody'))
  FROM torture.trespasses ORDER BY at LIMIT 1000`

// setTripwire is for a database that is migrated.
func (p *postgres) setTripwire(ctx context.Context) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, tripwireSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("set the tripwire: %w", err)
	}
	return nil
}
