// Package torture is the hidden command `raffsync torture`: it runs the real program as
// several processes on a Postgres of its own, does to all of them what goes wrong in
// the world, and then holds what happened against what was promised.
//
//	clients ─gRPC─▶ replica ─▶ fault proxy ─▶ Postgres
//	   │               │           ▲             ▲
//	 ledger            ▼           └── nemesis ──┘ (and replicas, and platforms)
//	   │           platforms
//	   │               │ ledger
//	   └────▶ checker ◀┴──── events, deliveries, timeline
//
// Clients stream events through the library that connectors use, and note in a ledger
// what was acknowledged: fsynced before it counts. Others resend what is durable, reuse
// ids with other content, and never read an answer.
//
// Platforms are web servers that fail and lie. They note every request as it arrives,
// whatever they answer. One recognises idempotency keys, one does not but can be asked,
// one can do neither.
//
// The nemesis deals its actions from a deck shuffled by the seed: SIGKILL, SIGTERM and
// SIGSTOP of replicas, SIGKILL of Postgres, connections cut at random, in the middle of
// a message, and around COMMIT (see proxy.go), sessions ended, all connections taken,
// partitions, a full disk, storms of 503 and 429, a COPY that stalls, holds that take long,
// requests that arrive and news that comes when a lease is long over. Where the program was
// built so (.tools/clock), the clocks of two replicas are an hour off.
//
// Every third event places an order, which a platform keeps that recognises nothing: several
// events of all clients are about one (see orders.go). A buyer maps what is sold, in the
// moment in which that is missed; operators retry one by one and all at once, and put right
// what is wrong.
//
// Then the faults end, an operator retries what needs one, and what is open must come to
// its end. After that nobody hears a hint any more: what the clients send then must be found
// without one, and come to its end too. The checker reads ledgers and database (see check.go).
//
// The seed fixes the deck and what each request is answered; the operating system's
// scheduling remains, so a run is repeated in kind and not to the letter.
//
// Each flaw of package mutant must be caught: `raffsync torture --mutants`, of a
// program built with the tag of that name, runs them one after another.
package torture
