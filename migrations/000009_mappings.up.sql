-- Mapping tables: what a value of the source is called at a destination. They are data,
-- changed by operators while everything runs, and not part of the configuration.

-- Which version of its mappings a tenant is at; no row means version 0. It rises by one
-- with each change, in the change's transaction and as its last statement, so that who
-- share-locks the row waits for a commit only, never for a long import. Changes of one
-- tenant are lined up before by an advisory lock.
CREATE TABLE mapping_versions (
  tenant  text COLLATE "C" PRIMARY KEY,
  version bigint NOT NULL DEFAULT 0 CHECK (version >= 0)
);

-- What holds now. Values and targets are kept byte for byte and compared so: codes of
-- real shops differ by case alone. The limits keep the key far below what an index takes.
CREATE TABLE mapping_entries (
  tenant      text COLLATE "C" NOT NULL,
  name        text COLLATE "C" NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'), -- of the table
  destination integer NOT NULL DEFAULT 0,  -- 0: shared by all
  value       text COLLATE "C" NOT NULL CHECK (octet_length(value) <= 500), -- '': the default, which no value is
  target      text COLLATE "C" NOT NULL CHECK (octet_length(target) BETWEEN 1 AND 500),
  version     bigint NOT NULL,             -- of the change that made it what it is
  PRIMARY KEY (tenant, name, destination, value)
);

-- How much stands in each table, so that neither the list of them nor the cap counts rows.
CREATE TABLE mapping_tables (
  tenant      text COLLATE "C" NOT NULL,
  name        text COLLATE "C" NOT NULL,
  destination integer NOT NULL,
  entries     integer NOT NULL DEFAULT 0 CHECK (entries >= 0), -- without the default
  version     bigint NOT NULL,             -- of the last change
  PRIMARY KEY (tenant, name, destination)
);

-- Who changed something, when and why: one row a request, however many entries it had.
CREATE TABLE mapping_changes (
  tenant  text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  at      timestamptz NOT NULL DEFAULT now(),
  actor   text NOT NULL,
  reason  text NOT NULL,
  PRIMARY KEY (tenant, version)
);

-- From what to what; NULL: no entry. Only ever added to: it tells what a value meant at
-- any version, and readers that hold a version learn from it what has changed since.
CREATE TABLE mapping_history (
  tenant      text COLLATE "C" NOT NULL,
  name        text COLLATE "C" NOT NULL,
  destination integer NOT NULL,
  value       text COLLATE "C" NOT NULL,
  version     bigint NOT NULL,
  was         text COLLATE "C",
  becomes     text COLLATE "C",
  PRIMARY KEY (tenant, name, destination, value, version),
  CHECK (was IS DISTINCT FROM becomes)
);
-- What came after a version, and the newest first: every column of the order.
CREATE INDEX mapping_history_version ON mapping_history (tenant, version, name, destination, value);

-- What is missing, by what it holds up: the gaps of all tables.
CREATE INDEX exceptions_gaps ON exceptions (tenant, id) WHERE rule = 'look-up' AND closed_at IS NULL;

DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['mapping_versions', 'mapping_tables', 'mapping_entries', 'mapping_changes', 'mapping_history'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format($p$CREATE POLICY of_the_tenant ON %I TO raffsync_api
      USING (tenant = current_setting('raffsync.tenant', true))
      WITH CHECK (tenant = current_setting('raffsync.tenant', true))$p$, t);
    EXECUTE format('CREATE POLICY for_analysts ON %I FOR SELECT TO raffsync_analytics USING (true)', t);
    EXECUTE format('GRANT SELECT ON %I TO raffsync_api, raffsync_engine, raffsync_analytics', t);
  END LOOP;
END $$;
GRANT INSERT, UPDATE ON mapping_versions TO raffsync_api, raffsync_engine; -- a share lock needs UPDATE
GRANT INSERT, UPDATE ON mapping_tables TO raffsync_api;
GRANT INSERT, UPDATE, DELETE ON mapping_entries TO raffsync_api;
GRANT INSERT ON mapping_changes, mapping_history TO raffsync_api;

-- A change is staged in temporary tables. Who may make them is often narrowed.
DO $$
BEGIN
  IF NOT has_database_privilege('raffsync_api', current_database(), 'TEMPORARY') THEN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO raffsync_api', current_database());
  END IF;
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
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''mapping'')) NOT VALID', words);
END $$;
