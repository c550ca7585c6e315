-- Webhooks that were signed rightly and of which no event can be made: kept as they came,
-- until the expressions of their source are put right and they are evaluated again. They
-- are no events, so no route, replay or search finds them.
CREATE TABLE quarantined (
  tenant       text COLLATE "C" NOT NULL,
  source       integer NOT NULL,
  id           text COLLATE "C" NOT NULL,  -- of the request: what is sent again is kept once
  exception    bigint NOT NULL,
  received_at  timestamptz NOT NULL DEFAULT now(),
  code         text COLLATE "C" NOT NULL,
  reason       text NOT NULL,
  content_type text COLLATE "C" NOT NULL,
  headers      jsonb,
  query        text NOT NULL,
  body_bytes   bigint NOT NULL,            -- of the whole body
  body_sha256  bytea NOT NULL,
  body         bytea NOT NULL,             -- its beginning, where it is longer than that
  PRIMARY KEY (tenant, source, id)
);
CREATE INDEX quarantined_exception ON quarantined (exception, received_at, source, id);

ALTER TABLE quarantined ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON quarantined TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
GRANT SELECT ON quarantined TO raffsync_api;
GRANT SELECT, INSERT, DELETE ON quarantined TO raffsync_engine;
