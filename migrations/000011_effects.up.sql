-- Deliveries of several steps, and the ledger of what they bring about.
--
-- A delivery of one step that names no effect writes none of it: its columns stay as they
-- are added, and it has no row in either table.
ALTER TABLE deliveries
  ADD COLUMN receipts jsonb,                          -- of the steps that are done, by name; NULL: none is
  ADD COLUMN claimed  boolean NOT NULL DEFAULT false; -- it has claimed an effect, so that its end looks for claims

-- An effect is unique per tenant and destination. Its row comes with the first claim, in
-- the transaction of the intent, and stays when its events are gone: what a source sends
-- again after that makes no second invoice.
--
-- A claim names the delivery that is about to bring the effect about, or to update it;
-- nobody else sends anything for it meanwhile. It ends with the step, or with the delivery.
-- Where a delivery ends and a request of it may have had its effect, unknown_at keeps that
-- for whoever claims it next, and key is what that request went by.
CREATE TABLE effects (
  tenant      text COLLATE "C" NOT NULL,
  destination integer NOT NULL,
  effect      text COLLATE "C" NOT NULL CHECK (octet_length(effect) BETWEEN 1 AND 200),
  revision    integer NOT NULL DEFAULT 0, -- 0: not there yet; rises with each update that is proven
  external_id text NOT NULL DEFAULT '',
  url         text NOT NULL DEFAULT '',
  fields      jsonb,
  content     bytea,                      -- SHA-256 of what was sent; NULL: not known
  source      text COLLATE "C",           -- of the event that brought it, and its id
  event       text COLLATE "C",
  at          timestamptz,                -- of that
  lane        smallint,                   -- the delivery that has claimed it; NULL: nobody
  seq         bigint,
  claimed_at  timestamptz,
  key         text COLLATE "C" NOT NULL DEFAULT '',
  unknown_at  timestamptz CHECK (isfinite(unknown_at)),
  PRIMARY KEY (tenant, destination, effect),
  CHECK ((revision > 0) = (at IS NOT NULL)),
  CHECK ((lane IS NULL) = (seq IS NULL) AND (lane IS NULL) = (claimed_at IS NULL))
) WITH (fillfactor = 80);
-- The claims of a delivery.
CREATE INDEX effects_claims ON effects (destination, lane, seq) WHERE lane IS NOT NULL;

-- Who waits for a claim to end. A row comes while its effect's is locked, and whoever ends
-- the claim turns it into one of due: nobody is forgotten in between.
CREATE TABLE effect_waits (
  tenant      text COLLATE "C" NOT NULL,
  destination integer NOT NULL,
  effect      text COLLATE "C" NOT NULL,
  lane        smallint NOT NULL,
  seq         bigint NOT NULL,
  key_hash    bigint NOT NULL,
  since       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, destination, effect, lane, seq)
);
CREATE INDEX effect_waits_delivery ON effect_waits (lane, destination, seq);

DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['effects', 'effect_waits'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format($p$CREATE POLICY of_the_tenant ON %I TO raffsync_api
      USING (tenant = current_setting('raffsync.tenant', true))
      WITH CHECK (tenant = current_setting('raffsync.tenant', true))$p$, t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO raffsync_engine', t);
    EXECUTE format('GRANT SELECT ON %I TO raffsync_api', t);
  END LOOP;
END $$;
-- An operator who skips a delivery ends its claims, and its waiting.
GRANT UPDATE (lane, seq, claimed_at, unknown_at, content) ON effects TO raffsync_api;
GRANT DELETE ON effect_waits TO raffsync_api;
-- Analysts read facts.
GRANT SELECT ON effects TO raffsync_analytics;
CREATE POLICY for_analysts ON effects FOR SELECT TO raffsync_analytics USING (true);

-- The timeline learns a word for a step whose effect was there already, so that nothing was
-- sent, beside those that it knows by now.
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s, ''effect'')) NOT VALID', words);
END $$;
