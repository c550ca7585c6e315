-- Who is told of an exception, and when: its policy as it was when the exception was
-- raised, and how far it has come. One row an exception.
CREATE TABLE escalations (
  exception   bigint PRIMARY KEY,
  tenant      text COLLATE "C" NOT NULL,
  next_at     timestamptz,               -- when to look at it; NULL: nothing comes by itself
  policy      jsonb,                     -- NULL: nobody has looked for one yet
  level       integer NOT NULL DEFAULT 0 CHECK (level >= 0),   -- how many have fired
  repeats     integer NOT NULL DEFAULT 0 CHECK (repeats >= 0), -- of the last of them
  from_at     timestamptz NOT NULL,      -- since when time counts towards the next level
  repeated_at timestamptz NOT NULL,      -- and towards the next repeat
  rested_level  interval NOT NULL DEFAULT '0', -- of that time, what somebody had acknowledged
  rested_repeat interval NOT NULL DEFAULT '0',
  acknowledged_at    timestamptz,        -- that is under way, as the worker has seen it
  acknowledged_until timestamptz,
  seen_at     timestamptz,               -- acknowledged_at of the exception that was last seen
  told        text[] NOT NULL DEFAULT '{}', -- teams that are owed an all-clear
  failures    integer NOT NULL DEFAULT 0, -- to look at it, one after the other
  CHECK ((acknowledged_at IS NULL) = (acknowledged_until IS NULL))
);
CREATE INDEX escalations_next ON escalations (next_at) WHERE next_at IS NOT NULL;

-- When a team was told last, so that what comes within a minute is told at once. The row
-- is what two workers with something for one team wait for.
CREATE TABLE team_notices (
  tenant  text COLLATE "C" NOT NULL,
  team    text COLLATE "C" NOT NULL,
  told_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, team)
);

ALTER TABLE exceptions
  ADD COLUMN acknowledged_at    timestamptz,
  ADD COLUMN acknowledged_until timestamptz,
  ADD CONSTRAINT exceptions_acknowledged CHECK ((acknowledged_at IS NULL) = (acknowledged_until IS NULL));

-- Whatever raises, closes or reopens an exception need not know of escalation: there are
-- many of them, and one that forgot would be a silent failure. A change of what an
-- exception holds fires nothing.
CREATE FUNCTION raffsync_escalate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO escalations (exception, tenant, from_at, repeated_at, next_at)
    VALUES (NEW.id, NEW.tenant, NEW.opened_at, NEW.opened_at, now());
  ELSIF NEW.closed_at IS NOT NULL THEN
    UPDATE escalations SET next_at = CASE WHEN told <> '{}' THEN now() END WHERE exception = NEW.id;
  ELSE
    UPDATE escalations
       SET policy = NULL, level = 0, repeats = 0, from_at = now(), repeated_at = now(), rested_level = '0', rested_repeat = '0',
           acknowledged_at = NULL, acknowledged_until = NULL, failures = 0, next_at = now()
     WHERE exception = NEW.id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER exceptions_are_escalated AFTER INSERT ON exceptions
  FOR EACH ROW EXECUTE FUNCTION raffsync_escalate();
CREATE TRIGGER exceptions_are_over AFTER UPDATE OF closed_at ON exceptions
  FOR EACH ROW WHEN ((OLD.closed_at IS NULL) <> (NEW.closed_at IS NULL)) EXECUTE FUNCTION raffsync_escalate();

-- What is open already counts from when it was raised.
INSERT INTO escalations (exception, tenant, from_at, repeated_at, next_at)
SELECT id, tenant, opened_at, opened_at, now() FROM exceptions WHERE closed_at IS NULL;

DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['escalations', 'team_notices'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format($p$CREATE POLICY of_the_tenant ON %I TO raffsync_api
      USING (tenant = current_setting('raffsync.tenant', true))
      WITH CHECK (tenant = current_setting('raffsync.tenant', true))$p$, t);
    EXECUTE format('CREATE POLICY for_analysts ON %I FOR SELECT TO raffsync_analytics USING (true)', t);
    EXECUTE format('GRANT SELECT ON %I TO raffsync_api, raffsync_analytics', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO raffsync_engine', t);
  END LOOP;
END $$;
-- The API acknowledges and closes exceptions, and raises none; the worker takes it up.
GRANT UPDATE ON escalations TO raffsync_api;

-- The timeline learns two words, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''acknowledge'', ''escalate'')) NOT VALID', words);
END $$;
