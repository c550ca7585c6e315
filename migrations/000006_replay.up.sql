-- New deliveries from old events, made in the background. A job's number is the replay
-- number of its deliveries, so that their idempotency keys are new.
CREATE TABLE replays (
  id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant       text COLLATE "C" NOT NULL,
  request_id   text COLLATE "C" NOT NULL,
  digest       bytea NOT NULL,          -- of what was asked for
  destination  integer NOT NULL,
  from_at      timestamptz NOT NULL,
  until_at     timestamptz NOT NULL,    -- exclusive, and no later than the request
  source       integer NOT NULL DEFAULT 0, -- 0: any
  type         text COLLATE "C" NOT NULL DEFAULT '',
  outlet       text COLLATE "C" NOT NULL DEFAULT '',
  reference    text COLLATE "C" NOT NULL DEFAULT '',
  unrouted     boolean NOT NULL DEFAULT false,
  rate         integer NOT NULL CHECK (rate > 0), -- deliveries a second
  state        text NOT NULL DEFAULT 'RUNNING' CHECK (state IN ('RUNNING', 'PAUSED', 'DONE', 'CANCELLED')),
  after_at     timestamptz NOT NULL,    -- the last event that was looked at
  after_seq    bigint NOT NULL DEFAULT 0,
  made         bigint NOT NULL DEFAULT 0,
  unwanted     bigint NOT NULL DEFAULT 0, -- matched, and no route to the destination wants it
  next_at      timestamptz NOT NULL DEFAULT now(), -- pace
  requested_at timestamptz NOT NULL DEFAULT now(),
  ended_at     timestamptz,
  actor        text NOT NULL,
  reason       text NOT NULL,
  UNIQUE (tenant, request_id),
  CHECK ((state IN ('DONE', 'CANCELLED')) = (ended_at IS NOT NULL))
);
CREATE INDEX replays_running ON replays (next_at, id) WHERE state = 'RUNNING';
CREATE INDEX replays_of_tenant ON replays (tenant, id);

-- Where an open delivery of a replay is: it has a position of its own. Neither column
-- changes while it is open.
CREATE INDEX deliveries_replayed ON deliveries (event) WHERE replay > 0;

ALTER TABLE replays ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON replays TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
CREATE POLICY for_analysts ON replays FOR SELECT TO raffsync_analytics USING (true);
GRANT SELECT, INSERT, UPDATE ON replays TO raffsync_api, raffsync_engine;
GRANT SELECT ON replays TO raffsync_analytics;

-- The timeline learns a word, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''replay'')) NOT VALID', words);
END $$;
