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
  number       bigint GENERATED ALWAYS AS IDENTITY,
  -- Whoever asked that it is evaluated again, until that is done.
  asked_by     text,
  asked_why    text,
  PRIMARY KEY (tenant, source, id),
  CHECK ((asked_by IS NULL) = (asked_why IS NULL))
);
CREATE INDEX quarantined_exception ON quarantined (exception, number);
CREATE INDEX quarantined_asked ON quarantined (number) WHERE asked_by IS NOT NULL;

ALTER TABLE quarantined ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON quarantined TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));
GRANT SELECT, UPDATE (asked_by, asked_why) ON quarantined TO raffsync_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantined TO raffsync_engine;
