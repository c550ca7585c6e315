-- The history of an ordering key is looked up now and then, by a person; each event paid for
-- it with an entry at a random place of a B-tree, which was a fifth of what it costs to take
-- one in, and more as the month grew: the page first, and its image in the WAL after every
-- checkpoint. A filter of some kilobytes for every 64 pages of events tells as well where to
-- look. It is made of what has gathered, not of each event: see raffsync_summarize_events.
-- No more events than its 3,000 keys fit into 64 pages, unless they are hardly more than
-- their ids; then it lets more pages through.
DROP INDEX events_key;
CREATE INDEX events_key ON events USING brin (accepted_at, key_hash int8_bloom_ops (n_distinct_per_range = 3000, false_positive_rate = 0.01))
  WITH (pages_per_range = 64);

-- The events of one ordering key before a moment and a position, and after a moment, the
-- newest first: so many at most. It looks through ever longer times, each eight times the
-- one before, so that the newest of a key that has many do not take reading them all.
--
-- Whatever the planner believes, a sequential scan is no way, and the primary key would lead
-- it through everything of the tenant.
CREATE FUNCTION raffsync_events_of_key(p_key_hash bigint, p_before timestamptz, p_before_seq bigint, p_after timestamptz, p_most integer)
RETURNS SETOF events LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_indexscan = off SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
  since timestamptz := greatest(p_after, raffsync_events_since() - interval '1 microsecond');
  width interval := interval '10 minutes';
  upper timestamptz := p_before;
  lower timestamptz := least(p_before, now()) - width;
  missing integer := p_most;
  found integer;
BEGIN
  LOOP
    lower := greatest(lower, since);
    RETURN QUERY
      SELECT * FROM events e
       WHERE e.key_hash = p_key_hash AND e.accepted_at <= upper AND e.accepted_at > lower AND (e.accepted_at, e.seq) < (p_before, p_before_seq)
       ORDER BY e.accepted_at DESC, e.seq DESC LIMIT missing;
    GET DIAGNOSTICS found = ROW_COUNT;
    missing := missing - found;
    EXIT WHEN missing = 0 OR lower = since;
    upper := lower;
    width := width * 8;
    lower := lower - width;
  END LOOP;
END $$;

-- Takes what was accepted this month and the last into the filters of events_key; what is not
-- in them yet is read as it is. It waits for nobody: where a partition is being vacuumed, that
-- does the same.
CREATE FUNCTION raffsync_summarize_events() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public SET timezone = 'UTC' SET lock_timeout = '1s' AS $$
DECLARE
  part regclass;
  ranges integer := 0;
BEGIN
  FOR part IN
    SELECT x.indexrelid FROM pg_index x JOIN pg_inherits i ON i.inhrelid = x.indexrelid
     WHERE i.inhparent = 'public.events_key'::regclass
       AND x.indrelid IN (to_regclass('public.events_' || to_char(now(), 'YYYYMM')), to_regclass('public.events_' || to_char(now() - interval '1 month', 'YYYYMM')))
  LOOP
    BEGIN
      ranges := ranges + brin_summarize_new_values(part);
    EXCEPTION WHEN lock_not_available THEN
      NULL;
    END;
  END LOOP;
  RETURN ranges;
END $$;

REVOKE EXECUTE ON FUNCTION raffsync_events_of_key, raffsync_summarize_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION raffsync_events_of_key, raffsync_events_since TO raffsync_api;
GRANT EXECUTE ON FUNCTION raffsync_summarize_events TO raffsync_engine;
