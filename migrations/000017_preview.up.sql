-- What routes in shadow have found. Their deliveries end with an entry of the timeline;
-- here is what they come to together: one row for each thing that would become of them, and
-- where they would need a person one for each cause beside that.
CREATE TABLE shadow_findings (
  tenant      text COLLATE "C" NOT NULL,
  route       text COLLATE "C" NOT NULL,
  destination integer NOT NULL,
  prospect    text COLLATE "C" NOT NULL CHECK (prospect IN ('SEND', 'SKIP', 'SUPERSEDE', 'HOLD')),
  class       text COLLATE "C" NOT NULL DEFAULT '', -- '': deliveries; otherwise a cause among theirs
  field       text COLLATE "C" NOT NULL DEFAULT '', -- mapping table, where it is a look-up
  code        text COLLATE "C" NOT NULL DEFAULT '', -- its value
  seen        bigint NOT NULL,
  first_at    timestamptz NOT NULL DEFAULT now(),
  last_at     timestamptz NOT NULL DEFAULT now(),
  event       bigint NOT NULL,          -- one of those that it was seen of last
  event_at    timestamptz NOT NULL,
  reason      text,                     -- of that
  PRIMARY KEY (tenant, route, destination, prospect, class, field, code)
) WITH (fillfactor = 70);

-- Which entries of mapping tables a request was made with, where it looked any up: what an
-- entry was used for that turns out wrong. Written between the intent and the request, so
-- that no crash leaves a request without. What became of it is in the timeline.
CREATE TABLE mapping_uses (
  tenant      text COLLATE "C" NOT NULL,
  name        text COLLATE "C" NOT NULL, -- of the table
  value       text COLLATE "C" NOT NULL, -- what was looked up, also where a default answered
  destination integer NOT NULL,          -- that the request went to
  at          timestamptz NOT NULL,      -- of the intent
  event       bigint NOT NULL,
  event_at    timestamptz NOT NULL,
  replay      integer NOT NULL,
  attempt     integer NOT NULL,
  step        smallint NOT NULL,
  shared      boolean NOT NULL,          -- the entry was of the table that all share
  fallback    boolean NOT NULL,          -- it was the table's default
  version     bigint NOT NULL,           -- of the mappings, that made the entry what it was
  target      text COLLATE "C" NOT NULL,
  route       text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant, name, value, destination, at, event, replay, step, attempt)
);

DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['shadow_findings', 'mapping_uses'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format($p$CREATE POLICY of_the_tenant ON %I TO raffsync_api
      USING (tenant = current_setting('raffsync.tenant', true))
      WITH CHECK (tenant = current_setting('raffsync.tenant', true))$p$, t);
    EXECUTE format('CREATE POLICY for_analysts ON %I FOR SELECT TO raffsync_analytics USING (true)', t);
    EXECUTE format('GRANT SELECT ON %I TO raffsync_api, raffsync_engine, raffsync_analytics', t);
  END LOOP;
END $$;
GRANT INSERT, UPDATE ON shadow_findings TO raffsync_engine;
GRANT INSERT ON mapping_uses TO raffsync_engine;

-- The timeline learns a word, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''shadow'')) NOT VALID', words);
END $$;
