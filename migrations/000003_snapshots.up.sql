-- The newest snapshot that a destination has, for routes that name a version: an older
-- one of the same ordering key, which comes later, is superseded. A row is written in the
-- transaction that ends the delivery; routes without a version write none. The ordering
-- key itself stands here and not its hash, since two keys that share one must not
-- supersede each other. A row stays when its events are gone: what a source sends again
-- after that is no newer.
CREATE TABLE snapshots (
  lane         smallint NOT NULL,
  destination  integer NOT NULL,
  route        text COLLATE "C" NOT NULL,
  ordering_key text COLLATE "C" NOT NULL,
  tenant       text COLLATE "C" NOT NULL,
  kind         smallint NOT NULL CHECK (kind IN (1, 2, 3)), -- a number, a text, a time
  number       bigint NOT NULL,    -- a time in microseconds since 1970
  text         text COLLATE "C" NOT NULL,
  event        text COLLATE "C" NOT NULL, -- the id of the event that brought it, for people
  applied_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (lane, destination, route, ordering_key)
) WITH (fillfactor = 80); -- it is updated in place
-- For the engine only: forced, and without a policy. What was superseded by what is told
-- by the timeline.
ALTER TABLE snapshots ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON snapshots TO raffsync_engine;

-- What a reader of open deliveries can make nothing of, it cannot put under an exception
-- either, and one such row would be in the way of all others: it cannot be there. Every
-- other column of it can always be read. Checked as rows come.
ALTER TABLE deliveries ADD CONSTRAINT deliveries_readable
  CHECK (isfinite(event_at) AND isfinite(accepted_at) AND isfinite(unknown_at)) NOT VALID;

ALTER TABLE tallies ADD COLUMN superseded bigint NOT NULL DEFAULT 0;

-- The timeline learns a word, beside whichever it knows by now. It is checked as rows
-- come: what is there is not read for it.
DO $$
DECLARE
  known text;
BEGIN
  SELECT pg_get_expr(conbin, conrelid) INTO STRICT known
    FROM pg_constraint WHERE conrelid = 'timeline'::regclass AND conname = 'timeline_what_check';
  ALTER TABLE timeline DROP CONSTRAINT timeline_what_check;
  EXECUTE format('ALTER TABLE timeline ADD CONSTRAINT timeline_what_check CHECK (%s OR what = %L) NOT VALID', known, 'supersede');
END $$;
