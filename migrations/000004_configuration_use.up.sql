-- What the running processes make of the configuration that is applied, so that
-- `apply` and operators are told where it is not in force, and why.

-- One row a process that serves, renewed every few seconds. It names no tenant.
CREATE SEQUENCE process_ids AS bigint;
CREATE TABLE processes (
  id          bigint PRIMARY KEY,
  started_at  timestamptz NOT NULL DEFAULT now(),
  alive_until timestamptz NOT NULL
);

-- A row for each tenant (destination 0), and one for each of its destinations that
-- the process cannot use as configured. Written when it changes, never by a delivery.
CREATE TABLE configuration_use (
  tenant      text COLLATE "C" NOT NULL,
  process     bigint NOT NULL,
  destination integer NOT NULL,            -- 0: the routes, and the tenant as a whole
  version     integer NOT NULL,            -- that it looked at last
  problem     text NOT NULL DEFAULT '',    -- why that version is not in force; empty: it is
  rests       boolean NOT NULL DEFAULT false, -- nothing goes out; else it goes on as before
  since       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, process, destination),
  CHECK (destination = 0 OR problem <> '')
);
-- A process rewrites its own rows, of all tenants.
CREATE INDEX configuration_use_process ON configuration_use (process);

ALTER TABLE configuration_use ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON configuration_use TO raffsync_api
  USING (tenant = current_setting('raffsync.tenant', true))
  WITH CHECK (tenant = current_setting('raffsync.tenant', true));

GRANT SELECT, INSERT, UPDATE, DELETE ON processes, configuration_use TO raffsync_engine;
GRANT SELECT ON processes, configuration_use TO raffsync_api;
GRANT USAGE ON SEQUENCE process_ids TO raffsync_engine;
