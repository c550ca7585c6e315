-- The tables on which everything stands. Words are those of README.md.
--
-- Rules that hold for all of it:
--   * A tenant's name stands in every row that an API may read; row-level security
--     compares it (text equality is leakproof, so indexes still serve).
--   * Texts that are compared byte by byte are COLLATE "C".
--   * No foreign keys between hot tables: each would cost an index probe and a row
--     lock an event, for what one statement already guarantees.
--   * No index mentions a column that changes while a delivery is open: its updates
--     stay inside the page (HOT).

-- Roles are cluster-wide, and several databases may be migrated at once.
DO $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('raffsync roles', 0));
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'raffsync_engine') THEN
    CREATE ROLE raffsync_engine NOLOGIN BYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'raffsync_api') THEN
    CREATE ROLE raffsync_api NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'raffsync_analytics') THEN
    CREATE ROLE raffsync_analytics NOLOGIN;
  END IF;
  EXECUTE format('GRANT raffsync_engine, raffsync_api, raffsync_analytics TO %I', session_user);
EXCEPTION WHEN insufficient_privilege THEN
  RAISE EXCEPTION 'the roles of Raffs Sync do not exist and % may not create them', session_user
    USING ERRCODE = 'RS002', HINT = 'Run as a superuser, once:
  CREATE ROLE raffsync_engine NOLOGIN BYPASSRLS;
  CREATE ROLE raffsync_api NOLOGIN;
  CREATE ROLE raffsync_analytics NOLOGIN;
  GRANT raffsync_engine, raffsync_api, raffsync_analytics TO ' || quote_ident(session_user) || ';';
END $$;

-- What is decided once, when a database is initialised.
CREATE TABLE installation (
  one        boolean PRIMARY KEY DEFAULT true CHECK (one),
  lanes      smallint NOT NULL CHECK (lanes BETWEEN 1 AND 1024),
  created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO installation (lanes) VALUES (64);

-- Configuration, as applied: the newest version of a tenant is in force.
CREATE TABLE configuration (
  tenant     text COLLATE "C" NOT NULL,
  version    integer NOT NULL CHECK (version > 0),
  document   jsonb NOT NULL,
  digest     bytea NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  actor      text NOT NULL,
  reason     text NOT NULL,
  PRIMARY KEY (tenant, version)
);

-- Names get small numbers, because they stand in every row and every index.
CREATE TABLE sources (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant     text COLLATE "C" NOT NULL,
  name       text COLLATE "C" NOT NULL,
  removed_at timestamptz,
  UNIQUE (tenant, name)
);
CREATE TABLE destinations (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant     text COLLATE "C" NOT NULL,
  name       text COLLATE "C" NOT NULL,
  removed_at timestamptz,
  UNIQUE (tenant, name)
);

-- Credentials. A key is `rs_<prefix>_<secret>`: the prefix finds it, the hash
-- (SHA-256 of a 256-bit secret) proves it.
CREATE TABLE api_keys (
  prefix     text COLLATE "C" PRIMARY KEY,
  tenant     text COLLATE "C" NOT NULL,
  source     integer NOT NULL REFERENCES sources,
  hash       bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  revoked_at timestamptz
);
-- People. Their secrets may be short, so the hash is bcrypt's.
CREATE TABLE operators (
  name       text COLLATE "C" PRIMARY KEY,
  tenant     text COLLATE "C" NOT NULL,
  hash       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  revoked_at timestamptz
);

-- Who is there. A lane belongs to the replica that it names while that replica's
-- lease has not run out by the database's clock; the epoch rises at each change.
CREATE SEQUENCE replica_ids AS bigint;
CREATE TABLE replicas (
  id          bigint PRIMARY KEY,
  application text NOT NULL,       -- application_name of all its sessions
  started_at  timestamptz NOT NULL DEFAULT now(),
  lease_until timestamptz NOT NULL
);
CREATE TABLE lanes (
  lane    smallint PRIMARY KEY,
  replica bigint,
  epoch   bigint NOT NULL DEFAULT 0
);
INSERT INTO lanes (lane) SELECT generate_series(0, 63);

-- One session that appends. Its counter rises in commit order within a lane, so a
-- reader may keep a cursor per writer. A COMMIT of unknown outcome ends the writer:
-- what it left behind can only be its last. It is closed once its session is gone,
-- and its row goes once nothing of it is open.
CREATE SEQUENCE writer_ids AS bigint;
CREATE TABLE writers (
  writer        bigint PRIMARY KEY,
  backend_pid   integer NOT NULL,
  backend_start timestamptz NOT NULL,
  opened_at     timestamptz NOT NULL DEFAULT now(),
  closed_at     timestamptz
);

-- The only deduplication key: not partitioned, no lane in it, so that an id never
-- makes a second event, over any replica and under any ordering key.
CREATE TABLE event_ids (
  tenant      text COLLATE "C" NOT NULL,
  source      integer NOT NULL,
  id          text COLLATE "C" NOT NULL,
  hash        bytea NOT NULL,
  seq         bigint NOT NULL,
  accepted_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, source, id)
);

-- seq is writer * 2^40 + counter.
CREATE TABLE events (
  tenant       text COLLATE "C" NOT NULL,
  accepted_at  timestamptz NOT NULL DEFAULT now(),
  seq          bigint NOT NULL,
  key_hash     bigint NOT NULL,
  source       integer NOT NULL,
  lane         smallint NOT NULL,
  unrouted     boolean NOT NULL,
  occurred_at  timestamptz NOT NULL,
  id           text COLLATE "C" NOT NULL,
  type         text COLLATE "C" NOT NULL,
  ordering_key text COLLATE "C" NOT NULL,
  outlet       text COLLATE "C" NOT NULL,
  content_type text COLLATE "C" NOT NULL,
  refs         jsonb,
  payload      bytea NOT NULL,
  PRIMARY KEY (tenant, accepted_at, seq)
) PARTITION BY RANGE (accepted_at);
-- The history of one ordering key.
CREATE INDEX events_key ON events (tenant, key_hash, accepted_at, seq);
CREATE INDEX events_unrouted ON events (tenant, accepted_at, seq) WHERE unrouted;

-- What people search by. A table of its own costs only events that carry any.
CREATE TABLE event_references (
  tenant      text COLLATE "C" NOT NULL,
  value       text COLLATE "C" NOT NULL,
  accepted_at timestamptz NOT NULL DEFAULT now(),
  seq         bigint NOT NULL,
  name        text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant, value, accepted_at, seq, name)
);

-- The second content of an id, kept until a person decides.
CREATE TABLE conflicts (
  tenant       text COLLATE "C" NOT NULL,
  source       integer NOT NULL,
  id           text COLLATE "C" NOT NULL,
  hash         bytea NOT NULL,
  received_at  timestamptz NOT NULL DEFAULT now(),
  first_seq    bigint NOT NULL,
  first_at     timestamptz NOT NULL,
  exception    bigint NOT NULL,
  occurred_at  timestamptz NOT NULL,
  type         text COLLATE "C" NOT NULL,
  ordering_key text COLLATE "C" NOT NULL,
  outlet       text COLLATE "C" NOT NULL,
  content_type text COLLATE "C" NOT NULL,
  refs         jsonb,
  payload      bytea NOT NULL,
  PRIMARY KEY (tenant, source, id, hash)
);
CREATE INDEX conflicts_exception ON conflicts (exception, received_at);

-- Open deliveries only: small and hot. A terminal one is deleted, and the timeline
-- entry of its last attempt is its result.
CREATE TABLE deliveries (
  seq         bigint NOT NULL,      -- its position; the event's own seq, but for a replay
  event       bigint NOT NULL,      -- seq of the event
  event_at    timestamptz NOT NULL DEFAULT now(), -- accepted_at of the event
  accepted_at timestamptz NOT NULL DEFAULT now(), -- order across writers
  key_hash    bigint NOT NULL,
  due_at      timestamptz,          -- RETRY: not before
  unknown_at  timestamptz,          -- the first request that may have had its effect
  exception   bigint,               -- NEEDS_ACTION: what holds it
  destination integer NOT NULL,
  replay      integer NOT NULL DEFAULT 0,
  version     integer NOT NULL DEFAULT 1, -- rises at each stored transition
  requests    integer NOT NULL DEFAULT 0, -- put on the wire for this step
  attempts    integer NOT NULL DEFAULT 0, -- spent, by the retry policy's count
  lane        smallint NOT NULL,
  step        smallint NOT NULL DEFAULT 0,
  revision    smallint NOT NULL DEFAULT 0,
  state       smallint NOT NULL DEFAULT 0,
  kind        smallint NOT NULL DEFAULT 0, -- outcome kind of the last attempt
  tenant      text COLLATE "C" NOT NULL,
  route       text COLLATE "C" NOT NULL,
  PRIMARY KEY (lane, destination, seq),
  CONSTRAINT deliveries_state CHECK (
       (state = 0 AND due_at IS NULL AND exception IS NULL)          -- PENDING
    OR (state = 1 AND due_at IS NOT NULL AND exception IS NULL)      -- RETRY
    OR (state = 2 AND due_at IS NULL AND exception IS NOT NULL))     -- NEEDS_ACTION
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
-- The line behind a key: who goes next, and what blocks whom.
CREATE INDEX deliveries_key ON deliveries (lane, destination, key_hash, accepted_at, seq);

-- Deliveries that are to be looked at again: retries, and what an operator released.
CREATE TABLE due (
  lane        smallint NOT NULL,
  destination integer NOT NULL,
  at          timestamptz NOT NULL,
  seq         bigint NOT NULL,
  key_hash    bigint NOT NULL,      -- a skipped delivery is gone, and its line goes on
  PRIMARY KEY (lane, destination, at, seq)
);

-- A log: one row a batch, written before the requests go out, deleted when every
-- one of them has its outcome stored. An entry is open while its delivery is there
-- with fewer requests than the entry's attempt.
CREATE TABLE intents (
  replica      bigint NOT NULL,
  batch        bigint NOT NULL,     -- counted by the replica: a repeated INSERT is harmless
  at           timestamptz NOT NULL DEFAULT now(),
  lanes        smallint[] NOT NULL,
  destinations integer[] NOT NULL,
  seqs         bigint[] NOT NULL,
  steps        smallint[] NOT NULL,
  attempts     integer[] NOT NULL,
  revisions    smallint[] NOT NULL,
  PRIMARY KEY (replica, batch)
);

-- Causes that need a person. One open exception a cause: never by message text.
CREATE TABLE exceptions (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant      text COLLATE "C" NOT NULL,
  class       text COLLATE "C" NOT NULL,
  destination integer NOT NULL DEFAULT 0,  -- 0: not about a destination
  source      integer NOT NULL DEFAULT 0,  -- 0: not about a source
  rule        text COLLATE "C" NOT NULL DEFAULT '',
  code        text COLLATE "C" NOT NULL DEFAULT '',
  field       text COLLATE "C" NOT NULL DEFAULT '',
  sample      text NOT NULL DEFAULT '',    -- the first reason, for people
  held        bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
  version     integer NOT NULL DEFAULT 1,
  opened_at   timestamptz NOT NULL DEFAULT now(),
  last_at     timestamptz NOT NULL DEFAULT now(),
  status      text NOT NULL DEFAULT 'NEEDS_ACTION' CHECK (status IN ('NEEDS_ACTION', 'RESOLVED', 'DISMISSED')),
  closed_at   timestamptz,
  CHECK ((status = 'NEEDS_ACTION') = (closed_at IS NULL))
);
CREATE UNIQUE INDEX exceptions_cause ON exceptions (tenant, class, destination, source, rule, code, field)
  WHERE closed_at IS NULL;
CREATE INDEX exceptions_opened ON exceptions (tenant, opened_at, id);
CREATE INDEX exceptions_open ON exceptions (tenant, opened_at, id) WHERE closed_at IS NULL;

-- What an exception holds.
CREATE TABLE holds (
  exception   bigint NOT NULL,
  lane        smallint NOT NULL,
  destination integer NOT NULL,
  seq         bigint NOT NULL,
  held_at     timestamptz NOT NULL DEFAULT now(),
  tenant      text COLLATE "C" NOT NULL,
  PRIMARY KEY (exception, lane, destination, seq)
);

-- The audit. Append-only: the guards are below.
CREATE TABLE timeline (
  tenant      text COLLATE "C" NOT NULL,
  at          timestamptz NOT NULL DEFAULT now(),
  entry       bigint GENERATED ALWAYS AS IDENTITY,
  event       bigint,              -- seq of the event it is about
  event_at    timestamptz,         -- its accepted_at
  started_at  timestamptz,         -- an attempt's intent
  next_at     timestamptz,         -- WAITING: until when
  exception   bigint,
  destination integer,
  replay      integer,
  attempt     integer,
  duration_us integer,
  step        smallint,
  kind        smallint,            -- outcome kind of an attempt
  what        text COLLATE "C" NOT NULL CHECK (what IN (
                'accepted', 'conflict', 'attempt', 'retry', 'skip',
                'exception', 'resolved', 'configuration', 'breaker', 'key')),
  state       text COLLATE "C" CHECK (state IN (
                'PENDING', 'WAITING', 'NEEDS_ACTION', 'DELIVERED', 'SKIPPED', 'SUPERSEDED')),
  reason      text,
  actor       text,                -- a person or program that decided; NULL: the engine
  detail      jsonb,               -- status, code, field, receipt, excerpt, request id
  PRIMARY KEY (tenant, at, entry)
) PARTITION BY RANGE (at);
CREATE INDEX timeline_event ON timeline (event, at, entry) WHERE event IS NOT NULL;
CREATE INDEX timeline_exception ON timeline (exception, at, entry) WHERE exception IS NOT NULL;

-- Counts, kept as deltas: a committer or finisher adds to a row of its own shard, so
-- that no two wait for each other. destination 0 counts what sources sent.
CREATE TABLE tallies (
  tenant       text COLLATE "C" NOT NULL,
  destination  integer NOT NULL,
  shard        smallint NOT NULL,
  accepted     bigint NOT NULL DEFAULT 0,  -- events, or deliveries made of them
  duplicates   bigint NOT NULL DEFAULT 0,
  conflicts    bigint NOT NULL DEFAULT 0,
  unrouted     bigint NOT NULL DEFAULT 0,
  delivered    bigint NOT NULL DEFAULT 0,
  skipped      bigint NOT NULL DEFAULT 0,
  needs_action bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, destination, shard)
) WITH (fillfactor = 50);

-- Each replica's breaker for each destination, as its owner last saw it.
CREATE TABLE breakers (
  destination integer NOT NULL,
  replica     bigint NOT NULL,
  tenant      text COLLATE "C" NOT NULL,
  state       text NOT NULL CHECK (state IN ('CLOSED', 'OPEN', 'HALF_OPEN')),
  reason      text NOT NULL,
  since       timestamptz NOT NULL DEFAULT now(),
  probe_at    timestamptz,
  paced_until timestamptz,          -- the platform asked to be left alone until then
  PRIMARY KEY (destination, replica)
);

-- The answers to repeated mutations: a repeat of a request id returns the
-- first answer.
CREATE TABLE operator_requests (
  tenant     text COLLATE "C" NOT NULL,
  request_id text COLLATE "C" NOT NULL,
  digest     bytea NOT NULL,
  answer     jsonb NOT NULL,
  at         timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, request_id)
);

-- Partitions, a month each. A missing one would stop ingest, so they are made
-- months ahead, at start and daily; there is no default partition, since one with
-- rows in it would refuse the partition that belongs there.
-- Months are UTC's, whatever the session's time zone: elsewhere one with a change of
-- the clock in it would end an hour early.
CREATE FUNCTION raffsync_ensure_partitions(p_from timestamptz, p_until timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public SET timezone = 'UTC' AS $$
DECLARE
  parent text;
  month timestamptz;
  part text;
  made integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('raffsync partitions', 0));
  FOREACH parent IN ARRAY ARRAY['events', 'timeline'] LOOP
    month := date_trunc('month', p_from);
    WHILE month <= p_until LOOP
      part := parent || '_' || to_char(month, 'YYYYMM');
      IF to_regclass('public.' || part) IS NULL THEN
        -- Made apart and then attached: that waits for nobody who reads or appends, and
        -- nobody waits for it.
        EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
          parent, part, month, month + interval '1 month');
        -- The parent's policies serve whoever asks the parent. Nobody asks a partition.
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
        IF parent = 'timeline' THEN
          EXECUTE format('CREATE TRIGGER timeline_is_not_truncated BEFORE TRUNCATE ON public.%I
            FOR EACH STATEMENT EXECUTE FUNCTION public.raffsync_refuse_change()', part);
        END IF;
        made := made + 1;
      END IF;
      month := month + interval '1 month';
    END LOOP;
  END LOOP;
  RETURN made;
END $$;

-- The timeline refuses to be changed, whoever asks. Row triggers are cloned to every
-- partition; TRUNCATE has statement triggers only, so each partition gets its own.
CREATE FUNCTION raffsync_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the timeline is append-only: % refused', TG_OP USING ERRCODE = 'RS003';
END $$;
CREATE TRIGGER timeline_is_append_only BEFORE UPDATE OR DELETE ON timeline
  FOR EACH ROW EXECUTE FUNCTION raffsync_refuse_change();
CREATE TRIGGER timeline_is_not_truncated BEFORE TRUNCATE ON timeline
  FOR EACH STATEMENT EXECUTE FUNCTION raffsync_refuse_change();

SELECT raffsync_ensure_partitions(now() - interval '1 day', now() + interval '3 months');

-- Fencing: whoever calls it holds these lanes at these epochs until its transaction
-- ends, or gets RS001. FOR KEY SHARE lets intents and finishes run side by side;
-- a takeover takes FOR UPDATE, and so waits for them.
CREATE FUNCTION raffsync_fence(p_replica bigint, p_lanes smallint[], p_epochs bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  held integer;
BEGIN
  SELECT count(*) INTO held FROM (
    SELECT 1
      FROM lanes l
      JOIN unnest(p_lanes, p_epochs) AS f(lane, epoch) ON f.lane = l.lane AND f.epoch = l.epoch
     WHERE l.replica = p_replica
     ORDER BY l.lane
       FOR KEY SHARE OF l) AS locked;
  IF held <> cardinality(p_lanes) THEN
    RAISE EXCEPTION 'lease lost: % of % lanes held', held, cardinality(p_lanes) USING ERRCODE = 'RS001';
  END IF;
END $$;

-- An operator's transition holds the delivery's lane for its short transaction: no
-- intent commits meanwhile, and those that did are seen.
CREATE FUNCTION raffsync_hold_lane(p_lane smallint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT FROM public.lanes WHERE lane = p_lane FOR UPDATE
$$;

-- Row-level security: the API sees the tenant that its transaction names, and
-- nothing at all when it names none.
DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['configuration', 'sources', 'destinations', 'events', 'event_ids',
      'event_references', 'conflicts', 'deliveries', 'exceptions', 'holds', 'timeline',
      'tallies', 'breakers', 'operator_requests'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format($p$CREATE POLICY of_the_tenant ON %I TO raffsync_api
      USING (tenant = current_setting('raffsync.tenant', true))
      WITH CHECK (tenant = current_setting('raffsync.tenant', true))$p$, t);
    EXECUTE format('GRANT SELECT ON %I TO raffsync_api, raffsync_engine', t);
  END LOOP;
END $$;

-- Credentials are for the engine only: forced, and without a policy.
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE operators ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT ON installation TO raffsync_engine, raffsync_api;
GRANT SELECT, INSERT ON configuration, timeline, event_ids, events, event_references TO raffsync_engine;
GRANT SELECT, INSERT, UPDATE, DELETE ON sources, destinations, api_keys, operators, replicas, lanes, writers,
  conflicts, deliveries, due, intents, exceptions, holds, tallies, breakers, operator_requests TO raffsync_engine;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO raffsync_engine;
GRANT EXECUTE ON FUNCTION raffsync_ensure_partitions, raffsync_fence TO raffsync_engine;

-- What an operator may change, through transitions only: a released delivery, a due
-- row, the exception that held it, and the audit of it. due and intents carry no
-- tenant (they are the engine's), so the API reaches them by position only.
GRANT INSERT ON timeline, operator_requests TO raffsync_api;
GRANT UPDATE, DELETE ON deliveries, holds TO raffsync_api;
GRANT UPDATE ON exceptions TO raffsync_api;
GRANT SELECT, INSERT ON due TO raffsync_api;
GRANT SELECT ON intents TO raffsync_api;
GRANT EXECUTE ON FUNCTION raffsync_hold_lane TO raffsync_api;
GRANT SELECT, INSERT, UPDATE ON tallies TO raffsync_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO raffsync_api;

-- Analysts read facts and audit, of every tenant: the role is for the owner of the
-- installation. Credentials and engine internals are not for them.
DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['sources', 'destinations', 'events', 'event_references', 'deliveries',
      'exceptions', 'holds', 'timeline', 'tallies'] LOOP
    EXECUTE format('GRANT SELECT ON %I TO raffsync_analytics', t);
    EXECUTE format('CREATE POLICY for_analysts ON %I FOR SELECT TO raffsync_analytics USING (true)', t);
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION raffsync_ensure_partitions, raffsync_fence, raffsync_hold_lane FROM PUBLIC;
