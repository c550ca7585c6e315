-- What platforms gave to destinations: tokens, sessions, and what came with them.

-- A row is made when it is first asked for, and stays: its version rises with each change,
-- so that no replica takes an older answer for the newer. What was given is sealed with a
-- key that is not in the database (AES-256-GCM, by the key that key_id names).
CREATE TABLE connections (
  tenant       text COLLATE "C" NOT NULL,
  destination  integer NOT NULL,
  version      bigint NOT NULL DEFAULT 0,
  key_id       text COLLATE "C",
  sealed       bytea,                          -- NULL: nothing is kept
  connected_at timestamptz,                    -- a person agreed; NULL: nobody had to
  connected_by text,
  renewed_at   timestamptz,                    -- the last answer that was kept
  expires_at   timestamptz,                    -- of the access token or session
  renew_by     timestamptz,                    -- lost unless it is renewed before
  warn_at      timestamptz,                    -- people are to hear of that from then on
  problem      text,                           -- why the last renewal brought nothing
  problem_at   timestamptz,
  revoked      boolean NOT NULL DEFAULT false, -- only a person can mend that
  claim        text COLLATE "C",               -- who renews it now, and for how long nobody else does
  claim_until  timestamptz,
  asked_at     timestamptz,                    -- the first request for this version whose answer is not known
  PRIMARY KEY (tenant, destination),
  CONSTRAINT connections_sealed CHECK ((sealed IS NULL) = (key_id IS NULL)),
  CONSTRAINT connections_claimed CHECK ((claim IS NULL) = (claim_until IS NULL))
);

-- The API sees how a connection stands, and never what is kept.
ALTER TABLE connections ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON connections TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
GRANT SELECT (tenant, destination, version, connected_at, connected_by, renewed_at, expires_at, renew_by, warn_at, problem, problem_at, revoked)
  ON connections TO raffsync_api;
GRANT SELECT, INSERT, UPDATE ON connections TO raffsync_engine;

-- What the sweep looks for: warnings that resolve by themselves.
CREATE INDEX exceptions_expiring ON exceptions (tenant, destination) WHERE closed_at IS NULL AND class = 'AUTH_EXPIRING';

-- The timeline learns a word, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''connection'')) NOT VALID', words);
END $$;
