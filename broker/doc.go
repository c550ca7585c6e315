// Package broker takes events in: it authenticates, validates, routes, makes durable
// and acknowledges, over the gRPC service of proto/raffsync/v1/ingest.proto.
//
//	Publish      ─▶ session ┐                       ┌▶ committer 0 ─▶ outbox.Writer
//	                        ├▶ intake: decode,      │
//	PublishBatch ─▶ call  ──┘  validate, Route ─────┴▶ committer 1 ─▶ outbox.Writer
//	                 ▲                                     │
//	                 └── acknowledgement ◀── durable ──────┘
//
// # What it promises
//
//   - What is acknowledged is durable. An acknowledgement goes out when every event
//     up to it has been committed, or is listed as invalid. After an error, or an
//     unclear COMMIT, nothing of the batch is acknowledged: the stream ends with
//     UNAVAILABLE, the client sends again, the outbox finds the duplicates.
//   - Order. Events of one ordering key go through one committer, in the order in
//     which they came. Once a commit of a stream's has failed, nothing that it sent
//     afterwards is committed: it must not overtake what will be sent again.
//   - One bad event costs its neighbours nothing. It is INVALID, with the field and
//     what was expected, also where its text is not UTF-8, the database refuses it, or a
//     bug of ours shows over it. Conflicts of a source whose exception somebody holds
//     end the stream of their sender only.
//   - Bounded memory. Batches are held to [Config.MemoryBudget] in all, until their
//     acknowledgement is handed to gRPC; streams of a tenant, connections, messages,
//     and the window of each stream have limits. Past one of them the answer is
//     RESOURCE_EXHAUSTED with RetryInfo, and so it is while [Config.Full] says that
//     there is no room on disk. Exception: a message of more than 4 MiB
//     (the contract allows 1) is refused by grpc-go itself, without RetryInfo.
//   - No caller learns what went wrong inside: see statusOf, the one table from
//     errors to codes. Neither keys nor payloads are logged.
//
// # Group commit
//
// There is no timer. A committer that is free commits whatever has gathered, up to
// 8,192 events; meanwhile the next commit gathers. See committer.
//
// # A stream
//
//	opened ─Hello─▶ welcomed ─Batch─▶ … ─▶ finishing ─acknowledged, or 5 s─▶ over
//	                    │                      ▲ the client closes its side (OK)
//	                    └─Draining─────────────┤ a rule is broken, silence, key revoked
//	                                           └ a commit failed
//
// A batch counts against the window from its arrival until the acknowledgement that
// covers it is handed to gRPC. A stream that is finishing takes nothing more; what
// it took before is still acknowledged.
//
// A stream is asked to drain when the broker stops, and when its connection is older
// than [Config.ConnectionAge] by a fifth: by then gRPC opens new streams on another.
//
// # Inside
//
// Receivers in the same process come by [Broker.Dial], over the same service in memory,
// with keys of [Broker.Admit] that are stored nowhere. They alone may send what is
// quarantined: a webhook of which no event can be made.
//
// # Conditions that fail
//
// See [Route]: what reads something absent does not match; any other failure leaves
// the event unrouted as a whole, with the reason in its result.
package broker
