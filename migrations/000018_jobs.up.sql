-- Transitions of many deliveries by one decision, made in the background.
CREATE TABLE jobs (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant       text COLLATE "C" NOT NULL,
  request_id   text COLLATE "C" NOT NULL,
  digest       bytea NOT NULL,          -- of what was asked for
  action       text COLLATE "C" NOT NULL CHECK (action IN ('RETRY', 'REPROCESS', 'SKIP')),
  filter       jsonb NOT NULL,          -- what was asked for, for people
  rate         integer NOT NULL CHECK (rate > 0), -- deliveries a second
  state        text COLLATE "C" NOT NULL DEFAULT 'RUNNING' CHECK (state IN ('RUNNING', 'PAUSED', 'DONE', 'CANCELLED')),
  total        bigint NOT NULL DEFAULT 0, -- that were there at the click
  done         bigint NOT NULL DEFAULT 0,
  failed       bigint NOT NULL DEFAULT 0,
  lane         smallint NOT NULL DEFAULT 0, -- those before it are done
  next_at      timestamptz NOT NULL DEFAULT now(), -- pace
  requested_at timestamptz NOT NULL DEFAULT now(),
  ended_at     timestamptz,
  actor        text NOT NULL,
  reason       text NOT NULL,
  UNIQUE (tenant, request_id),
  CHECK ((state IN ('DONE', 'CANCELLED')) = (ended_at IS NOT NULL)),
  CHECK (done + failed <= total)
);
CREATE INDEX jobs_running ON jobs (next_at, id) WHERE state = 'RUNNING';
CREATE INDEX jobs_of_tenant ON jobs (tenant, id);

-- What a job has still to do. It is written once, at the click, which freezes the cut-off:
-- a delivery whose version is another when its turn comes has gone on, and is left alone.
-- The key gives a delivery to one job at a time, the first that asked.
CREATE TABLE job_members (
  lane        smallint NOT NULL,
  destination integer NOT NULL,
  seq         bigint NOT NULL,
  job         bigint NOT NULL,
  event       bigint NOT NULL,
  event_at    timestamptz NOT NULL,
  replay      integer NOT NULL,
  version     integer NOT NULL,
  tenant      text COLLATE "C" NOT NULL,
  PRIMARY KEY (lane, destination, seq)
);
CREATE INDEX job_members_next ON job_members (job, lane, destination, seq);

-- What did not work and why: the first thousand of each job.
CREATE TABLE job_failures (
  job         bigint NOT NULL,
  number      bigint GENERATED ALWAYS AS IDENTITY,
  event       bigint NOT NULL,
  event_at    timestamptz NOT NULL,
  destination integer NOT NULL,
  replay      integer NOT NULL,
  reason      text NOT NULL,
  tenant      text COLLATE "C" NOT NULL,
  PRIMARY KEY (job, number)
);

DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['jobs', 'job_members', 'job_failures'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format($p$CREATE POLICY of_the_tenant ON %I TO raffsync_api
      USING (tenant = current_setting('raffsync.tenant', true))
      WITH CHECK (tenant = current_setting('raffsync.tenant', true))$p$, t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO raffsync_engine', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE ON jobs TO raffsync_api;
GRANT SELECT, INSERT, DELETE ON job_members TO raffsync_api;
GRANT SELECT, INSERT ON job_failures TO raffsync_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO raffsync_engine, raffsync_api;
-- Analysts read facts and audit.
CREATE POLICY for_analysts ON jobs FOR SELECT TO raffsync_analytics USING (true);
CREATE POLICY for_analysts ON job_failures FOR SELECT TO raffsync_analytics USING (true);
GRANT SELECT ON jobs, job_failures TO raffsync_analytics;

-- What a person has changed for one delivery: the event stays as it came. Dispatch prepares
-- from it what has the mark; for all others the column is all that there is of this.
ALTER TABLE deliveries ADD COLUMN edited boolean NOT NULL DEFAULT false;
CREATE TABLE edits (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant       text COLLATE "C" NOT NULL,
  event        bigint NOT NULL,
  event_at     timestamptz NOT NULL,
  destination  integer NOT NULL,
  replay       integer NOT NULL,
  changes      jsonb NOT NULL,          -- in their order: path (a JSON pointer) and value
  state        text COLLATE "C" NOT NULL CHECK (state IN ('PENDING', 'APPLIED', 'REJECTED')),
  second       boolean NOT NULL,        -- needs a second person
  actor        text NOT NULL,
  reason       text NOT NULL,
  asked_at     timestamptz NOT NULL DEFAULT now(),
  decided_by   text,
  decided_at   timestamptz,
  decided_why  text,
  CHECK ((state = 'PENDING') = (decided_at IS NULL)),
  CHECK (NOT second OR state <> 'APPLIED' OR decided_by <> actor)
);
-- Those of a delivery; one at a time waits for a second person.
CREATE INDEX edits_delivery ON edits (event, destination, replay, id);
CREATE UNIQUE INDEX edits_pending ON edits (event, destination, replay) WHERE state = 'PENDING';
CREATE INDEX edits_of_tenant ON edits (tenant, id);
ALTER TABLE edits ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON edits TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
CREATE POLICY for_analysts ON edits FOR SELECT TO raffsync_analytics USING (true);
GRANT SELECT, INSERT ON edits TO raffsync_api;
GRANT UPDATE (state, decided_by, decided_at, decided_why) ON edits TO raffsync_api;
GRANT SELECT ON edits TO raffsync_engine, raffsync_analytics;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO raffsync_api;

-- A delivery that is redirected is a replay of one event, by a route that was settled when
-- it was asked for: its old delivery ends in the same transaction.
ALTER TABLE replays
  ADD COLUMN event bigint NOT NULL DEFAULT 0,               -- 0: whatever the others say
  ADD COLUMN route text COLLATE "C" NOT NULL DEFAULT '';    -- '': today's routes decide

-- The timeline learns three words, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''job'', ''reprocess'', ''edit'')) NOT VALID', words);
END $$;
