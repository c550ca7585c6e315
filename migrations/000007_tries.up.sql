-- The age that a retry policy bounds begins with the first try: what waited in line, or
-- was paused, for longer than that has all its retries before it still.
ALTER TABLE deliveries ADD COLUMN tried_at timestamptz CHECK (isfinite(tried_at)); -- NULL: not tried, or not since an operator's retry
