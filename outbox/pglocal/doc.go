// Package pglocal runs a Postgres of our own on this machine, so that a
// first `make run` and the tests need no server that somebody set up.
//
// It looks for the binaries of a server (see binaries.go for the order), makes
// a data directory, and starts Postgres on a Unix socket in a folder that only
// its account may enter; it never listens on TCP. Linux and macOS.
//
// A folder holds one cluster:
//
//	<Dir>/lock            flock held by the process that owns the cluster
//	<Dir>/data            the data directory, of the account Postgres runs as
//	<Dir>/run             the socket's folder (in /tmp where this path is too long)
//	<Dir>/postgres.log    the server's log; at most one older one is kept
//
// What it promises:
//
//   - Committed data survives: fsync stays on unless Config.NoFsync says that
//     the data is a test's.
//
//   - One owner: a second Start on the same folder fails with ErrInUse and
//     names the owner's process, however close together the two begin.
//
//   - Postgres outlives its owner's death and the terminal's Ctrl-C, so that
//     the owner can drain first; the next Start adopts it.
//
//   - As root, which Postgres refuses, everything runs as the user postgres or,
//     where there is none, as uid 65534.
//
//   - A data directory of another major version is never touched: ErrVersion.
//
// The states of a cluster:
//
//	      Start: initdb, launch         Stop: fast shutdown
//	absent ───────────────────▶ owned ─────────────────────▶ stopped
//	            owner is killed │  ▲ ▲                          │
//	                            ▼  │ └──────────────────────────┤
//	                       orphaned  Start, Attach: adopt       │ Start: launch,
//	                            │                               │ recover
//	                            └───── Postgres dies too ──▶ crashed
//
// The socket's folder is the access control: whoever may enter it (its account
// and root) is the superuser. Its mode is 0700.
package pglocal
