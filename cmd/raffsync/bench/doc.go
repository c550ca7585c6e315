// Package bench is `raffsync bench`: the figures of the README, measured on this
// machine, against what one would use instead.
//
//	bench ──▶ embedded Postgres of its own, durable, a new database each round
//	  ├─────▶ engine: this program as it serves, a process of its own ──▶ no-op, or webhook ─┐
//	  │         ▲ gRPC, through connectors/client                                            │
//	  ├─ events ┘        receiver on loopback ◀──────────────────────────────────────────────┘
//	  └─────▶ peers: River in its own binary (module peers); COPY and net/http in here
//
// What it promises:
//
//   - Both sides of a comparison run in turn, in the same run, on the same Postgres,
//     with a checkpoint before each; the figure is the median of the pairs' ratios, so
//     that what else the machine does falls on both.
//   - Our side is the real path: a real stream, real commits, real intents, the real
//     dispatcher. Only the no-op destination is the bench's own.
//   - "Delivered" is what Postgres says is delivered, not what was sent.
//   - A figure that was not measured is not printed.
//   - What a queue has behind it after years is made by SQL, and said so; what happens to
//     it then comes through the API, the store and the dispatcher.
//
// The Postgres is told to make no checkpoints of its own during a round
// (max_wal_size, checkpoint_timeout); all that durability needs is on, and shown with
// the machine.
package bench
