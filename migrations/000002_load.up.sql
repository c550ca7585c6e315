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
