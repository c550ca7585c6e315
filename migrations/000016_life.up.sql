-- The life of an exception: needs action, acknowledged until some time, in progress with
-- somebody, resolved or dismissed; and what is at stake while it is open.
ALTER TABLE exceptions
  ADD COLUMN severity text COLLATE "C" NOT NULL DEFAULT 'MEDIUM' CHECK (severity IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
  ADD COLUMN assignee text COLLATE "C",
  ADD COLUMN team     text COLLATE "C",
  -- The version that the last step of a person made. What an exception holds changes its
  -- version all the time; whoever has seen this one has seen all that was decided.
  ADD COLUMN stepped  integer NOT NULL DEFAULT 1,
  -- How often its cause has come back within 30 days, and the exception before.
  ADD COLUMN reopened integer NOT NULL DEFAULT 0,
  ADD COLUMN earlier  bigint,
  DROP CONSTRAINT exceptions_status_check,
  DROP CONSTRAINT exceptions_check,
  ADD CONSTRAINT exceptions_status_check CHECK (status IN ('NEEDS_ACTION', 'ACKNOWLEDGED', 'IN_PROGRESS', 'RESOLVED', 'DISMISSED')),
  ADD CONSTRAINT exceptions_open_check CHECK ((status IN ('RESOLVED', 'DISMISSED')) = (closed_at IS NOT NULL)),
  ADD CONSTRAINT exceptions_acknowledged_until CHECK (status <> 'ACKNOWLEDGED' OR acknowledged_until IS NOT NULL);

-- The exception of the same cause before.
CREATE INDEX exceptions_before ON exceptions (tenant, class, destination, source, rule, code, field, closed_at)
  WHERE closed_at IS NOT NULL;
-- What was dismissed of the classes that the engine would raise again at once.
CREATE INDEX exceptions_put_aside ON exceptions (class, destination, source, closed_at)
  WHERE status = 'DISMISSED' AND class IN ('SOURCE_SILENT', 'AUTH_EXPIRING', 'LATE');

-- How much it matters, while no rule of the configuration says otherwise.
CREATE FUNCTION raffsync_severity(class text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
SELECT CASE
  WHEN class IN ('AUTH_REVOKED', 'ACCOUNT_STATE') THEN 'CRITICAL'
  WHEN class IN ('UNKNOWN_OUTCOME', 'RETRIES_EXHAUSTED', 'SOURCE_SILENT', 'QUARANTINED', 'POISON') THEN 'HIGH'
  WHEN class IN ('AUTH_EXPIRING', 'DUPLICATE') THEN 'LOW'
  ELSE 'MEDIUM' END $$;
UPDATE exceptions SET severity = raffsync_severity(class);

-- Whatever raises an exception need not know of its severity, nor of those before it:
-- there are many of them.
CREATE FUNCTION raffsync_raised() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before record;
BEGIN
  SELECT id, reopened INTO before FROM exceptions x
   WHERE x.tenant = NEW.tenant AND x.class = NEW.class AND x.destination = NEW.destination AND x.source = NEW.source
     AND x.rule = NEW.rule AND x.code = NEW.code AND x.field = NEW.field AND x.closed_at > now() - interval '30 days'
   ORDER BY x.closed_at DESC LIMIT 1;
  IF FOUND OR raffsync_severity(NEW.class) <> NEW.severity THEN
    UPDATE exceptions SET severity = raffsync_severity(class), reopened = coalesce(before.reopened + 1, 0), earlier = before.id WHERE id = NEW.id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER exceptions_are_raised AFTER INSERT ON exceptions FOR EACH ROW EXECUTE FUNCTION raffsync_raised();

-- One that is dismissed while it holds deliveries lets go of them by skipping them.
ALTER TABLE releases ADD COLUMN skips boolean NOT NULL DEFAULT false;

-- What a held delivery is worth, as its route's expressions said when it was held: so
-- that what is taken off is what was put on. NULL where the route says nothing of it.
ALTER TABLE holds
  ADD COLUMN currency text COLLATE "C",
  ADD COLUMN amount   numeric,
  ADD COLUMN units    numeric;

-- What an open exception has at stake, kept as deltas under its row's lock. '' is the
-- currency of units without money.
CREATE TABLE exposures (
  exception  bigint NOT NULL,
  currency   text COLLATE "C" NOT NULL,
  tenant     text COLLATE "C" NOT NULL,
  amount     numeric NOT NULL DEFAULT 0,
  units      numeric NOT NULL DEFAULT 0,
  deliveries bigint NOT NULL,            -- that say so: the row goes with the last
  PRIMARY KEY (exception, currency)
);
ALTER TABLE exposures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON exposures TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
CREATE POLICY for_analysts ON exposures FOR SELECT TO raffsync_analytics USING (true);
GRANT SELECT ON exposures TO raffsync_analytics;
GRANT SELECT, UPDATE, DELETE ON exposures TO raffsync_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON exposures TO raffsync_engine;

-- The timeline learns the words of a person's steps, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''assign'', ''start'', ''comment'', ''dismissed'', ''reopen'')) NOT VALID', words);
END $$;

-- What happened to an exception itself, among all that happened to what it holds.
CREATE INDEX timeline_steps ON timeline (exception, at, entry) WHERE exception IS NOT NULL AND event IS NULL;

-- How far events have been looked at for those that no route wants. What was unrouted
-- before this is listed, as it was.
CREATE TABLE unrouted_sweep (
  one   boolean PRIMARY KEY DEFAULT true CHECK (one),
  until timestamptz NOT NULL DEFAULT now()
);
INSERT INTO unrouted_sweep DEFAULT VALUES;
GRANT SELECT, UPDATE ON unrouted_sweep TO raffsync_engine;
CREATE INDEX exceptions_unrouted ON exceptions (id) WHERE closed_at IS NULL AND class = 'UNROUTED';
CREATE INDEX exceptions_unwanted ON exceptions (tenant, source, code) WHERE status = 'DISMISSED' AND class = 'UNROUTED';
