// Package migrations holds the numbered SQL that makes and changes the schema,
// and applies it.
//
// A file is named 000001_subject.up.sql; there is no way down, since going back
// is a restore. What Up promises:
//
//   - Any number of replicas may call it at once: one migrates, under a session
//     lock that the others poll for, the rest find the work done. (Waiting in
//     pg_advisory_lock instead holds a snapshot, which CREATE INDEX CONCURRENTLY
//     waits for: a deadlock.) The lock needs a session: a pooler in transaction
//     mode can't stand in between.
//
//   - A file is applied entirely or not at all, together with its version: one
//     transaction. Whoever is killed in between leaves nothing behind.
//
//   - No statement of theirs waits longer for a table's lock than LockTimeout,
//     because behind a waiting ALTER TABLE everything else queues up.
//
// What can't run in a transaction (CREATE INDEX CONCURRENTLY) is a file of one
// statement, written with IF NOT EXISTS, whose first line is "-- no-transaction".
// Only such a file can be left half done, and then the database is marked dirty,
// which Up reports and does not touch.
//
//	version N ── BEGIN; version N+1; file; COMMIT ───────────────▶ version N+1
//	version N ── N+1, dirty ──▶ file of one statement ── clean ──▶ version N+1
//	                            └── interrupted: a person decides
//
// A file that has been released is never changed: databases that have it would
// differ from those to come.
package migrations
