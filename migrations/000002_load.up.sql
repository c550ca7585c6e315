-- What operators order until further notice: a source, a route or a destination that is
-- paused, a breaker that is held open or closed. What runs by itself has no row here, so
-- the table is as small as the trouble. Deliveries that wait behind an order are not
-- written to: that they wait is computed.
CREATE TABLE controls (
  tenant text COLLATE "C" NOT NULL,
  kind   text COLLATE "C" NOT NULL CHECK (kind IN ('source', 'route', 'destination', 'breaker')),
  name   text COLLATE "C" NOT NULL, -- of what it is about; a breaker has its destination's
  state  text COLLATE "C" NOT NULL,
  reason text NOT NULL,
  actor  text NOT NULL,
  since  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, kind, name),
  CONSTRAINT controls_state CHECK (CASE kind WHEN 'breaker' THEN state IN ('OPEN', 'CLOSED') ELSE state = 'PAUSED' END)
);
ALTER TABLE controls ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON controls TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
CREATE POLICY for_analysts ON controls FOR SELECT TO raffsync_analytics USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE ON controls TO raffsync_api;
GRANT SELECT ON controls TO raffsync_engine, raffsync_analytics;

-- The timeline learns two words. They are checked as rows come: what is there knows
-- only the old ones, and is not read for that.
ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (
  'accepted', 'conflict', 'attempt', 'retry', 'skip', 'exception', 'resolved', 'configuration',
  'breaker', 'key', 'pause', 'resume')) NOT VALID;

-- What all replicas share of a destination: its breaker, and what is left to lease of its
-- limits. Each replica leases a short block ahead, by its backlog, so that no request
-- waits for this row, and a destination without rate or quota seldom writes to it.
CREATE TABLE throttles (
  destination   integer PRIMARY KEY,
  tenant        text COLLATE "C" NOT NULL,
  breaker       text NOT NULL DEFAULT 'CLOSED' CHECK (breaker IN ('CLOSED', 'OPEN', 'HALF_OPEN')),
  turn          integer NOT NULL DEFAULT 0,           -- rises at each change of breaker
  reason        text NOT NULL DEFAULT '',
  since         timestamptz NOT NULL DEFAULT now(),
  probe_at      timestamptz NOT NULL DEFAULT 'epoch', -- OPEN: when it is tried again
  prober        bigint NOT NULL DEFAULT 0,            -- HALF_OPEN: the replica that tries
  probe_until   timestamptz NOT NULL DEFAULT 'epoch', -- HALF_OPEN: until when nobody else does
  rate_at       timestamptz NOT NULL DEFAULT 'epoch', -- when the next request is due at the even rate
  rate_free_at  timestamptz NOT NULL DEFAULT 'epoch', -- when it may go, by the burst
  quota_limit   bigint NOT NULL DEFAULT 0,            -- as configured; 0: none
  quota_used    bigint NOT NULL DEFAULT 0,            -- leased counts as used
  quota_until   timestamptz NOT NULL DEFAULT 'epoch', -- when it is reset
  retry_from    timestamptz NOT NULL DEFAULT 'epoch', -- since when the budget counts
  retry_firsts  bigint NOT NULL DEFAULT 0,            -- first attempts since then
  retry_granted bigint NOT NULL DEFAULT 0             -- retries since then
) WITH (fillfactor = 50);

-- The slots of a destination that each replica holds. A share counts as long as its
-- replica's lease does: no request of a replica outlives that.
CREATE TABLE shares (
  destination integer NOT NULL,
  replica     bigint NOT NULL,
  tenant      text COLLATE "C" NOT NULL,
  slots       integer NOT NULL CHECK (slots >= 0),
  wanted      integer NOT NULL,
  busy        boolean NOT NULL, -- all slots are in use, and something waits for one
  PRIMARY KEY (destination, replica)
) WITH (fillfactor = 50);

DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['throttles', 'shares'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format($p$CREATE POLICY of_the_tenant ON %I TO raffsync_api
      USING (tenant = current_setting('raffsync.tenant', true))
      WITH CHECK (tenant = current_setting('raffsync.tenant', true))$p$, t);
    EXECUTE format('GRANT SELECT ON %I TO raffsync_api', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO raffsync_engine', t);
  END LOOP;
END $$;
