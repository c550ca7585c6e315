-- Silence is a failure: deliveries that take too long, and sources that say nothing.

-- What a LATE exception counts. A table of its own, since a delivery that is late may be
-- held by another exception too; and neither the delivery nor its way is touched for it:
-- members leave when a sweep finds that their delivery is not open any more.
CREATE TABLE late (
  exception   bigint NOT NULL,
  lane        smallint NOT NULL,
  destination integer NOT NULL,
  seq         bigint NOT NULL,
  since       timestamptz NOT NULL DEFAULT now(),
  tenant      text COLLATE "C" NOT NULL,
  PRIMARY KEY (exception, lane, destination, seq)
);

-- What sweeps look for: exceptions that resolve by themselves.
CREATE INDEX exceptions_swept ON exceptions (class, destination, source)
  WHERE closed_at IS NULL AND class IN ('LATE', 'SOURCE_SILENT');

-- A source's rhythm, as applied, and what is known of it. heard_at is kept in memory by
-- whoever takes events in, and written here every few seconds.
ALTER TABLE sources
  ADD COLUMN silent_after  interval,     -- NULL: nobody minds
  ADD COLUMN watched_since timestamptz,  -- when silent_after came into force
  ADD COLUMN heard_at      timestamptz,
  ADD CONSTRAINT sources_watched CHECK ((silent_after IS NULL) = (watched_since IS NULL));

-- Since when anybody has listened without a gap: while no process ran, no source was
-- silent.
CREATE TABLE listening (
  one      boolean PRIMARY KEY DEFAULT true CHECK (one),
  since    timestamptz NOT NULL DEFAULT now(),
  still_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE late ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON late TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
CREATE POLICY for_analysts ON late FOR SELECT TO raffsync_analytics USING (true);
GRANT SELECT ON late TO raffsync_api, raffsync_analytics;
GRANT SELECT, INSERT, DELETE ON late TO raffsync_engine;
GRANT SELECT, INSERT, UPDATE ON listening TO raffsync_engine;
