// Package outbox is the transactional outbox in Postgres: events, deliveries, the
// append-only timeline, exceptions, leases, credentials, the configuration in force.
// It is the only place that holds SQL that writes them.
//
// An open delivery is a row; a terminal one is none, and the timeline entry of its
// last attempt is its result:
//
//	Append ─▶ PENDING ──Finish──▶ (delivered: row deleted)
//	            ▲  │ └──────────▶ RETRY ───due───┐
//	            │  └────────────▶ NEEDS_ACTION   │
//	            ├──Retry (an operator)──┤────────┘      Skip: row deleted, from any state
//	            └──Release (all causes)─┘
//
// What it promises:
//
//   - [Writer.Append] returns without error only for what is durable; an event is
//     there exactly with its deliveries, is its own entry of the timeline, and never
//     changes; an id makes one event for ever.
//   - [Replica.Intend] comes before any request; what it stored and [Replica.Finish]
//     never answered is found by the next owner of the lane.
//   - Whatever a replica stores is fenced: nothing of a lost lease is applied.
//   - What is held hangs on an exception for each of its causes, and goes on with the last
//     of them. A mapping that comes at the very moment in which its lack is stored is not
//     missed ([ReleaseAnswered]).
//   - A job ([Store.StartJob]) is the same transition of many, each at most once and only
//     while it is as it was at the click, over any number of processes.
//   - Each transition, by the engine or by an operator, is compare-and-set, and has its
//     timeline entry in the same transaction.
//
// Mapping tables are data beside all that: [Store.SetMappings] and its neighbours change
// them under a version of the tenant, with their history; [Mappings] is what the way of an
// event looks them up in.
//
// Positions: a [Seq] is a writer's number and a counter that rises in commit order
// within a lane, so a reader may keep a cursor for each writer and never skips a late
// commit. Time is the database's.
package outbox
