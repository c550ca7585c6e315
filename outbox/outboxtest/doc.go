// Package outboxtest gives tests databases of their own on real Postgres. For
// tests only.
//
// NewDatabase clones a migrated template: tens of milliseconds. NewServer starts
// a private Postgres, for tests that kill it or change its settings: a second.
//
// All test binaries of a user share one cluster, with fsync off, in a folder that
// stays (pglocal.DefaultDir of test-<major version>), so that the next run finds
// the template. It runs exactly as long as a test binary uses it:
//
//	test binary ── flock(users.lock, shared), kept until it ends ────┐
//	     └─ nobody holds keeper.lock? starts the keeper              │
//	keeper ── keeper.lock; starts Postgres, writes its address;      │
//	     └─ flock(users.lock, exclusive): waits for all of them ◀────┘
//	        then stops Postgres and ends
//
// The keeper is the test binary itself, started again in a session of its own
// (see keeper.go); the kernel gives the locks back of whoever is killed. If the
// keeper is killed, the next test binary's keeper adopts its Postgres. What
// killed tests leave, databases and private servers, goes when the keeper ends
// or with the next run.
//
// RAFFSYNC_TEST_DATABASE_URL names another server to use instead, by a user who
// may create databases and roles; its own database is not touched.
package outboxtest
