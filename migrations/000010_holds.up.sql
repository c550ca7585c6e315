-- One delivery may hang on several exceptions: one for each look-up that found nothing.
-- It goes on when the last of them has let go of it.

-- What a look-up asked for, byte for byte, where that is the cause: class, destination,
-- table (field) and value (code, cut where it is long) name it. '' where no entry of a
-- mapping table can be that value, so that only the table's default answers it; NULL: the
-- cause is not a look-up.
ALTER TABLE exceptions ADD COLUMN looked_up text COLLATE "C";

-- What a change of a mapping table may answer.
CREATE INDEX exceptions_missed ON exceptions (tenant, field, code) WHERE closed_at IS NULL AND looked_up IS NOT NULL;

-- All that holds a delivery. Rows come and go with holds, and never change.
CREATE INDEX holds_delivery ON holds (lane, destination, seq);

-- Exceptions that were resolved as a whole while they held deliveries. The owners of
-- lanes set those free, a page at a time; the row goes with the last of them. A table of
-- its own, since it is nearly always empty, and looked at every second.
CREATE TABLE releases (
  exception bigint PRIMARY KEY,
  tenant    text COLLATE "C" NOT NULL,
  actor     text,                        -- who resolved it; NULL: the engine
  reason    text NOT NULL,
  at        timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE releases ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON releases TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
GRANT SELECT, INSERT, DELETE ON releases TO raffsync_api, raffsync_engine;

-- The timeline learns a word, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''release'')) NOT VALID', words);
END $$;

-- A platform that takes its authorisation away, or suspends the account, holds its
-- destination as a whole: one exception, and one row among what is held until further
-- notice, which every replica reads. The deliveries are not written to.
ALTER TABLE exceptions ADD COLUMN holds_destination boolean NOT NULL DEFAULT false;
-- When a destination was last given back: requests from before that say nothing new.
CREATE INDEX exceptions_of_destinations ON exceptions (destination, closed_at) WHERE holds_destination;

ALTER TABLE controls DROP CONSTRAINT controls_kind_check;
ALTER TABLE controls ADD CONSTRAINT controls_kind_check CHECK (kind IN ('source', 'route', 'destination', 'breaker', 'authorisation'));
ALTER TABLE controls DROP CONSTRAINT controls_state;
ALTER TABLE controls ADD CONSTRAINT controls_state
  CHECK (CASE kind WHEN 'breaker' THEN state IN ('OPEN', 'CLOSED') WHEN 'authorisation' THEN state = 'LOST' ELSE state = 'PAUSED' END);
GRANT INSERT ON controls TO raffsync_engine;
