// Package view is the read side of the outbox: what people ask about events,
// deliveries, exceptions and the timeline, answered under the role raffsync_api.
//
// What it promises:
//
//   - One tenant at a time. [View.As] runs its reads in one read-only transaction
//     that names the tenant (SET LOCAL), and row-level security does the rest. A
//     pool whose role could see more is refused, at every transaction.
//
//   - One snapshot for all reads of an As: a delivery that finishes meanwhile is
//     neither seen twice nor missed.
//
//   - No scan that grows with history. Lists are walked by keyset cursors along an
//     index; a filter without an index of its own examines at most [Budget] rows a
//     page, and hands back a cursor to go on from. A page may then hold fewer rows
//     than asked for, or none, while HasNext says that there is more to look at. A
//     test looks at the plan of every statement on 100,000 rows.
//
//   - Nested lists are read for many parents by one statement.
//
// A delivery's state is computed from what is stored:
//
//	row in deliveries? ── no ──▶ the last timeline entry with a state:
//	        │                    DELIVERED, SKIPPED, SUPERSEDED
//	       yes
//	        ├─ held by an exception ─────────────▶ NEEDS_ACTION
//	        ├─ an intent without outcome ────────▶ SENDING
//	        ├─ an earlier one of its key is open ▶ WAITING (BLOCKED, by whom)
//	        ├─ an operator paused what it is of ─▶ WAITING (PAUSED, by whom and why)
//	        ├─ its platform took the authorisation ▶ WAITING (AUTHORISATION)
//	        ├─ another one has its effect ───────▶ WAITING (EFFECT, by whom)
//	        ├─ its breaker is open ──────────────▶ WAITING (BREAKER, until the probe)
//	        ├─ its destination asked for a pause ▶ WAITING (RATE_LIMIT, until then)
//	        ├─ its rate or quota has no room ────▶ WAITING (RATE_LIMIT, QUOTA, until then)
//	        ├─ a retry that is not due yet ──────▶ WAITING (RETRY, until then)
//	        ├─ its destination's slots are taken ▶ WAITING (SLOTS)
//	        └─ nothing holds it ─────────────────▶ PENDING
package view
