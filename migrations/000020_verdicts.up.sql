-- A person says what became of a request that nobody else can tell about: that the platform
-- has it, with its receipt, or that it has not. What the first comes to is what a finish of
-- the engine comes to: a receipt in the ledger, and a newest snapshot.
GRANT INSERT, UPDATE (revision, external_id, url, fields, source, event, at, key) ON effects TO raffsync_api;
CREATE POLICY of_the_tenant ON snapshots TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
GRANT SELECT, INSERT, UPDATE ON snapshots TO raffsync_api;

-- What routes in shadow have found is forgotten when somebody has seen it.
GRANT DELETE, UPDATE (reason) ON shadow_findings TO raffsync_api; -- a lock needs UPDATE

-- Which entries of mapping tables requests were made with: one row for the requests of a
-- batch of intents to one destination, in that batch's transaction. It was a row for each
-- look-up, whose index alone cost more than the request: here a look-up is an element or
-- two of arrays. Whoever asks what an entry was used for reads a destination's rows back in
-- time; that is done once in a while, and look-ups are made all day.
--
-- Rows go when the events of their time are gone: see the housekeeping.
CREATE TABLE mapping_used (
  tenant      text COLLATE "C" NOT NULL,
  destination integer NOT NULL,
  at          timestamptz NOT NULL,      -- of the intents
  number      bigint GENERATED ALWAYS AS IDENTITY,
  -- Of each request:
  events      bigint[] NOT NULL,
  event_ats   timestamptz[] NOT NULL,
  replays     integer[] NOT NULL,
  steps       smallint[] NOT NULL,
  attempts    integer[] NOT NULL,
  routes      text[] NOT NULL,
  -- Of each entry that any of them was made with:
  names       text[] COLLATE "C" NOT NULL, -- of the table
  looked      text[] COLLATE "C" NOT NULL, -- what was looked up, also where a default answered
  targets     text[] NOT NULL,
  versions    bigint[] NOT NULL,         -- of the mappings, that made the entry what it was
  shared      boolean[] NOT NULL,        -- the entry was of the table that all share
  fallback    boolean[] NOT NULL,        -- it was the table's default
  -- Which request was made with which entry, by their places, from 1:
  requests    integer[] NOT NULL,
  entries     integer[] NOT NULL,
  PRIMARY KEY (tenant, destination, at, number)
);
ALTER TABLE mapping_uses NO FORCE ROW LEVEL SECURITY; -- so that its owner sees it
INSERT INTO mapping_used (tenant, destination, at, events, event_ats, replays, steps, attempts, routes, names, looked, targets, versions, shared, fallback, requests, entries)
SELECT tenant, destination, at, ARRAY[event], ARRAY[event_at], ARRAY[replay], ARRAY[step], ARRAY[attempt], ARRAY[min(route)],
       array_agg(name ORDER BY entry), array_agg(value ORDER BY entry), array_agg(target ORDER BY entry), array_agg(version ORDER BY entry),
       array_agg(shared ORDER BY entry), array_agg(fallback ORDER BY entry), array_agg(1), array_agg(entry ORDER BY entry)
  FROM (SELECT *, row_number() OVER (PARTITION BY tenant, destination, at, event, event_at, replay, step, attempt ORDER BY name, value)::integer AS entry FROM mapping_uses) AS u
 GROUP BY tenant, destination, at, event, event_at, replay, step, attempt;
TRUNCATE mapping_uses;
ALTER TABLE mapping_uses FORCE ROW LEVEL SECURITY;

ALTER TABLE mapping_used ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON mapping_used TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
CREATE POLICY for_analysts ON mapping_used FOR SELECT TO raffsync_analytics USING (true);
GRANT SELECT ON mapping_used TO raffsync_api, raffsync_engine, raffsync_analytics;
GRANT INSERT, DELETE ON mapping_used TO raffsync_engine;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO raffsync_engine;

-- The version before this one writes into the table as it was, while both run: what it
-- writes is turned over. It reads nothing there any more: an error is better than a list
-- without anything. A later migration drops that table.
DROP POLICY of_the_tenant ON mapping_uses;
DROP POLICY for_analysts ON mapping_uses;
REVOKE SELECT ON mapping_uses FROM raffsync_api, raffsync_analytics;
CREATE FUNCTION raffsync_mapping_use_as_it_was() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO mapping_used (tenant, destination, at, events, event_ats, replays, steps, attempts, routes, names, looked, targets, versions, shared, fallback, requests, entries)
  VALUES (NEW.tenant, NEW.destination, NEW.at, ARRAY[NEW.event], ARRAY[NEW.event_at], ARRAY[NEW.replay], ARRAY[NEW.step], ARRAY[NEW.attempt], ARRAY[NEW.route],
          ARRAY[NEW.name], ARRAY[NEW.value], ARRAY[NEW.target], ARRAY[NEW.version], ARRAY[NEW.shared], ARRAY[NEW.fallback], ARRAY[1], ARRAY[1]);
  RETURN NULL;
END $$;
CREATE TRIGGER mapping_uses_are_turned_over BEFORE INSERT ON mapping_uses FOR EACH ROW EXECUTE FUNCTION raffsync_mapping_use_as_it_was();

-- The first moment of which events are kept: partitions before it are gone.
CREATE FUNCTION raffsync_events_since() RETURNS timestamptz LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public SET timezone = 'UTC' AS $$
SELECT min(to_date(substring(c.relname FROM '^events_(\d{6})$'), 'YYYYMM'))::timestamptz
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'public.events'::regclass $$;
REVOKE ALL ON FUNCTION raffsync_events_since FROM PUBLIC;
GRANT EXECUTE ON FUNCTION raffsync_events_since TO raffsync_engine;

-- The timeline learns two words, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''found'', ''resend'')) NOT VALID', words);
END $$;
