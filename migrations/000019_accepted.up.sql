-- That an event was accepted is told by its own row, which has been there since, with the
-- time, and is never changed. A line of the timeline beside it said the same once more, for
-- a fifth of what Postgres spends on an event that it takes in.
--
-- An event has one such entry, and stands before whatever else happened at that moment:
-- its number is below zero, in the order of acceptance, where the others' are above.
CREATE VIEW accepted WITH (security_invoker = true) AS
SELECT tenant, accepted_at AS at, seq + '-9223372036854775808'::bigint AS entry, seq AS event, accepted_at AS event_at,
       NULL::timestamptz AS started_at, NULL::timestamptz AS next_at, NULL::bigint AS exception, NULL::integer AS destination,
       NULL::integer AS replay, NULL::integer AS attempt, NULL::integer AS duration_us, NULL::smallint AS step, NULL::smallint AS kind,
       'accepted'::text COLLATE "C" AS what, CASE WHEN NOT unrouted THEN 'PENDING'::text COLLATE "C" END AS state,
       NULL::text AS reason, NULL::text COLLATE "C" AS actor, NULL::jsonb AS detail
  FROM events;

-- The whole audit, for who reads it by SQL.
CREATE VIEW audit WITH (security_invoker = true) AS
SELECT tenant, at, entry, event, event_at, started_at, next_at, exception, destination, replay, attempt, duration_us, step, kind, what, state, reason, actor, detail
  FROM timeline
 UNION ALL
SELECT * FROM accepted;

GRANT SELECT ON accepted TO raffsync_api, raffsync_analytics;
GRANT SELECT ON audit TO raffsync_analytics;

-- What is there of such lines goes: the one change that the timeline ever sees, and no fact
-- is lost with it. The policies are for others than the owner.
DROP TRIGGER timeline_is_append_only ON timeline;
ALTER TABLE timeline NO FORCE ROW LEVEL SECURITY;
DELETE FROM timeline WHERE what = 'accepted';
ALTER TABLE timeline FORCE ROW LEVEL SECURITY;
CREATE TRIGGER timeline_is_append_only BEFORE UPDATE OR DELETE ON timeline
  FOR EACH ROW EXECUTE FUNCTION raffsync_refuse_change();
DO $$
DECLARE
  words text;
BEGIN
  SELECT string_agg(DISTINCT quote_literal(m[1]), ', ') INTO words
    FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([a-z]+)''', 'g') AS m
   WHERE c.conrelid = 'timeline'::regclass AND c.conname = 'timeline_what_check' AND m[1] <> 'accepted';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (what IN (%s)) NOT VALID', words);
END $$;

-- Events are as unchangeable as what is told of them.
CREATE OR REPLACE FUNCTION raffsync_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'RS003';
END $$;
CREATE TRIGGER events_is_append_only BEFORE UPDATE OR DELETE ON events
  FOR EACH ROW EXECUTE FUNCTION raffsync_refuse_change();
DO $$
DECLARE
  part text;
BEGIN
  FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'events'::regclass UNION ALL SELECT 'events' LOOP
    EXECUTE format('CREATE TRIGGER events_is_not_truncated BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION raffsync_refuse_change()', part);
    EXECUTE format('GRANT INSERT ON %s TO raffsync_engine', part);
  END LOOP;
END $$;
-- As before, but that the partitions of both refuse to be truncated, and that the engine may
-- add to those of events.
CREATE OR REPLACE FUNCTION raffsync_ensure_partitions(p_from timestamptz, p_until timestamptz) RETURNS integer
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
        -- The parent's policies serve whoever asks the parent. Nobody asks a partition; but a
        -- batch of events is copied into the one of its time.
        IF parent = 'events' THEN
          EXECUTE format('GRANT INSERT ON public.%I TO raffsync_engine', part);
        END IF;
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
        EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON public.%I
          FOR EACH STATEMENT EXECUTE FUNCTION public.raffsync_refuse_change()', parent || '_is_not_truncated', part);
        made := made + 1;
      END IF;
      month := month + interval '1 month';
    END LOOP;
  END LOOP;
  RETURN made;
END $$;

-- Columns that tell most come first, and such as tell nothing are left out: comparing a
-- tenant's name with itself was a third of what these two cost each event. key_hash covers
-- the tenant.
ALTER TABLE event_ids DROP CONSTRAINT event_ids_pkey, ADD PRIMARY KEY (id, source, tenant);
DROP INDEX events_key;
CREATE INDEX events_key ON events (key_hash, accepted_at, seq);
