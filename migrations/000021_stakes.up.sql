-- What an exception has at stake besides money: how many ordering keys wait behind what it
-- holds, how old the oldest of that is, and which outlets it is about. Kept as deltas under
-- its row's lock, as what it holds is, so that half a million cost no more to show than one.
ALTER TABLE exceptions
  ADD COLUMN blocked   bigint NOT NULL DEFAULT 0 CHECK (blocked >= 0), -- of its deliveries, at the head of a line
  ADD COLUMN oldest_at timestamptz;          -- acceptance of the oldest event that it holds

-- What a hold is to its exception, so that what is taken off is what was put on. A hold that
-- a process of the version before has made says nothing of it.
ALTER TABLE holds
  ADD COLUMN event_at timestamptz,           -- acceptance of its event
  ADD COLUMN blocks   boolean NOT NULL DEFAULT false, -- what comes behind it waits, as its route said
  ADD COLUMN outlet   text COLLATE "C" NOT NULL DEFAULT '';

-- Outlets of the deliveries that an exception holds. A row stays when its last delivery goes:
-- so what is closed is found by its outlets too.
CREATE TABLE held_outlets (
  exception bigint NOT NULL,
  outlet    text COLLATE "C" NOT NULL,
  tenant    text COLLATE "C" NOT NULL,
  held      bigint NOT NULL,
  PRIMARY KEY (exception, outlet)
);
ALTER TABLE held_outlets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON held_outlets TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
CREATE POLICY for_analysts ON held_outlets FOR SELECT TO raffsync_analytics USING (true);
GRANT SELECT ON held_outlets TO raffsync_analytics;
GRANT SELECT, UPDATE ON held_outlets TO raffsync_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON held_outlets TO raffsync_engine;

-- What is held already. Whether it blocks is what its route says today.
WITH routes AS (
  SELECT c.tenant, r ->> 'name' AS name
    FROM (SELECT DISTINCT ON (tenant) tenant, document FROM configuration ORDER BY tenant, version DESC) AS c
   CROSS JOIN LATERAL jsonb_array_elements(c.document -> 'routes') AS r
   WHERE r ->> 'on_exception' = 'pass'
)
UPDATE holds h
   SET event_at = d.event_at, outlet = coalesce(e.outlet, ''),
       blocks = NOT EXISTS (SELECT FROM routes r WHERE r.tenant = d.tenant AND r.name = d.route)
  FROM deliveries d
  LEFT JOIN events e ON e.tenant = d.tenant AND e.accepted_at = d.event_at AND e.seq = d.event
 WHERE d.lane = h.lane AND d.destination = h.destination AND d.seq = h.seq;
UPDATE exceptions x SET blocked = h.blocked, oldest_at = h.oldest_at
  FROM (SELECT exception, count(*) FILTER (WHERE blocks) AS blocked, min(event_at) AS oldest_at FROM holds GROUP BY exception) AS h
 WHERE h.exception = x.id;
INSERT INTO held_outlets (exception, outlet, tenant, held)
SELECT exception, outlet, min(tenant), count(*) FROM holds WHERE outlet <> '' GROUP BY exception, outlet;

-- The oldest that is left, once the oldest has gone.
CREATE INDEX holds_oldest ON holds (exception, event_at);

-- What a board shows besides counts since the first event: what tallies said when the day
-- began, and how fast each destination gets on. Sweeps write them, seldom; ingest knows
-- nothing of it.
CREATE TABLE day_marks (
  tenant    text COLLATE "C" PRIMARY KEY,
  day       date NOT NULL,               -- by the clock of its outlets
  accepted  bigint NOT NULL,
  delivered bigint NOT NULL
);
CREATE TABLE paces (
  destination integer PRIMARY KEY,
  tenant      text COLLATE "C" NOT NULL,
  at          timestamptz NOT NULL,      -- some minute ago at most
  ended       bigint NOT NULL,           -- deliveries that had by then
  before_at   timestamptz NOT NULL,      -- and a minute before that
  before      bigint NOT NULL
);
DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['day_marks', 'paces'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format($p$CREATE POLICY of_the_tenant ON %I TO raffsync_api
      USING (tenant = current_setting('raffsync.tenant', true))
      WITH CHECK (tenant = current_setting('raffsync.tenant', true))$p$, t);
    EXECUTE format('GRANT SELECT ON %I TO raffsync_api', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO raffsync_engine', t);
  END LOOP;
END $$;

-- The timeline learns a word, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''severity'')) NOT VALID', words);
END $$;
