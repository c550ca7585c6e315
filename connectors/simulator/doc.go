// Package simulator plays the platforms that a shop's events are delivered to:
// each receives Standard Webhooks over real HTTP on loopback and keeps a durable
// ledger of what it received and what came of it.
//
// A ledger is the other side's book: duplicates and losses are counted there, not
// by the sender. It promises:
//
//   - a request's line is on disk (fsync) before anything of an answer leaves,
//     whether that is a 200, a 503, a reset or silence;
//   - an effect is brought about at most once per Idempotency-Key, across restarts
//     and SIGKILL; the same key with another body is refused with 422. A platform that is
//     forgetful ([Config.Forgetful]) brings one about each time instead;
//   - two effects with one key or one event (the id and source of CloudEvents, or
//     the webhook-id) are a duplicate, found by reading the lines, not by trusting
//     the code that wrote them.
//
// A request's way:
//
//	POST /events ─▶ fault? ─▶ signature, key, content ─▶ key known? ─▶ line ─▶ fsync ─▶ answer
//	                  │ without effect      │ refused        │ repeat      ▲             │
//	                  └─────────────────────┴────────────────┴─────────────┘      or reset, silence
//
// Behaviours: [Healthy] answers; [Failing] fails in every way a platform fails, by
// a schedule that depends on a seed, the idempotency key and the number of the
// attempt, and is down altogether in phases; [Strict] refuses SKUs that it does not
// know with 422.
//
// GET /events/{key}, signed, answers whether a request with the key has had an effect:
// 200 with its receipt, or 404. A platform in an outage answers 503 there too.
//
// GET /ledger answers a [Summary], GET /ledger/effects and /ledger/requests answer
// lines, filtered and in pages.
//
// A platform runs inside a test ([New], [Platform.Handler]) or as a process of its
// own ([Run]), which ends when its standard input does, so that none is left behind
// when its parent is killed.
package simulator
