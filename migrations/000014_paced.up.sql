-- Until when a platform is left alone, since it asked one of the replicas for that.
ALTER TABLE throttles ADD COLUMN paced_until timestamptz NOT NULL DEFAULT 'epoch';
