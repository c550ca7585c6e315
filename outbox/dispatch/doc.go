// Package dispatch delivers what is in the outbox.
//
//	read ─▶ guard ─▶ prepare ─▶ intend ─▶ send ─▶ decide ─▶ finish
//
// A [Dispatcher] lives as one replica after another. Each incarnation joins, takes a
// share of the lanes, and runs loops that hand batches to each other: the scheduler
// reads forward in each lane and destination and admits heads of ordering keys; the
// launcher reads their events and has each destination's requests prepared; intenders
// make the intents durable; senders put them on the wire; the finisher decides what the
// outcomes come to and stores it.
// What gathers while a loop is busy is its next batch; only outcomes, for which nobody waits,
// are given some milliseconds to gather. Slots are places on the wire: where a crash costs
// nobody's time, some requests are on their way beside those that fill them.
//
// What it promises:
//
//   - One delivery of an ordering key and destination in flight, in the order of
//     acceptance; trouble with one key or one destination costs no other.
//   - No request without a durable intent before it, and none after the lease's end.
//   - Whatever makes an incarnation doubt its lease ends it; its successor gives every
//     open intent the outcome UNKNOWN_OUTCOME and goes on.
//   - Where a platform can be asked ([connectors.Reconciler]), nothing is sent again that
//     may have had its effect before the platform has said, after that request was surely
//     over, that it had none.
//   - A snapshot that is older than what its route has delivered of the same ordering key
//     is not sent, where the route names a version.
//   - A delivery goes through the steps of its route, and goes on at the one where it
//     stopped, with the receipts of those before.
//   - Where a step names an effect, no two deliveries send anything for it at once, and
//     nothing is sent that would make a second one: it is claimed with the intent. Whoever
//     has to wait is due when the claim ends.
//   - [Decide] is pure, and so are the lines and queues: they hold state and do no I/O.
//   - Limits hold over all replicas: slots, requests under a rate and units of a quota are
//     leased ahead from what they share. So is who tries a platform whose breaker is open.
//   - What an operator holds is not sent, over restarts; what is on the wire finishes.
//   - What look-ups miss holds a delivery until every one of them has an answer; it is then
//     prepared anew, and spends nothing.
//   - A platform that takes its authorisation away holds its destination as a whole, until
//     an operator or a probe says that it is back; no attempt is spent meanwhile.
//   - What is previewed is what is sent: one preparation makes both. A route in shadow has
//     each delivery prepared and ended, with neither slot, intent nor claim.
//   - Which entries of mapping tables a request was made with is durable before it is sent.
//   - A connector that panics, hangs or refuses harms its own delivery only.
//
// What becomes of an unknown outcome:
//
//	send ─no answer─▶ wait out ─▶ ask ─found───────▶ delivered
//	  ▲                           │▲ └─cannot tell─▶ wait, and ask again; in the end a
//	  └──────────absent───────────┘└── retry ─────── person decides
//
// What becomes of a step that names an effect:
//
//	ledger ─there───▶ done without a request, an update, or a person decides
//	  └─not there─▶ claim ─won──▶ send ─▶ settle: the receipt is in the ledger
//	                  └─ lost ─▶ wait until that claim ends, and look at the ledger again
//
// In memory are: a bounded read-ahead of heads, a few followers of each key that has
// something open, and nothing of what waits behind them.
package dispatch
