// Package metrics counts what broker and dispatcher do, for Prometheus.
//
//	broker.Observer, dispatch.Observer ─▶ counters, histograms ─┐
//	outbox, pools, streams, lanes ◀── asked at a scrape ────────┴▶ GET /metrics
//
// What it promises:
//
//   - Counting costs an event nothing but an addition: series are looked up once a
//     batch, and made once.
//   - Labels are names out of the configuration, or of a fixed list. No id of an event,
//     no text of a platform ever becomes one.
//   - A scrape counts no rows, and asks Postgres at most once in [OutboxTTL], for at
//     most [OutboxTimeout]. Where it does not answer, raffsync_outbox_up is 0, what
//     only it could tell is left out, and everything else is there.
//   - Counters count what this process did since it started. What the outbox holds is
//     the same from every replica: take the maximum over them, never the sum.
//
// [Alerts] are rules to begin with.
package metrics
