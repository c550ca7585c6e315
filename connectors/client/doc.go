// Package client is the library of connector authors: it streams events to a
// broker and says what became of each.
//
//	c, err := client.New(client.Config{Target: "127.0.0.1:9090", Key: key, Name: "till-7 2.1.0"})
//	go c.Run(ctx)            // the stream, until ctx ends or Close
//	err = c.Send(ctx, event) // blocks while too much is unacknowledged
//	err = c.Flush(ctx)       // everything sent so far is durable
//	err = c.Close(ctx)       // Flush, then Run returns
//
// Its promises:
//
//   - An event that [Client.Send] took is sent until the broker acknowledges it,
//     over any number of streams, in the order of the Send calls and always with
//     the same id. It is acknowledged to the caller exactly once, through
//     [Config.OnResult], the counters of [Client.Stats], and [Client.Flush].
//   - An event that could end the stream for all the others (invalid UTF-8, too
//     large for a frame) is refused by Send with an [*EventError] and goes nowhere.
//   - Memory is bounded by [Config.BufferEvents] and [Config.BufferBytes]: Send
//     waits while they are reached.
//   - The key goes over an unencrypted connection to this machine only, unless
//     [Config.AllowPlaintext] says otherwise.
//   - Where the context of [Client.Run] is in an OpenTelemetry trace, the traces of
//     its events are linked to that span.
//
// Unacknowledged events are kept in memory: they are lost with the process. A
// connector that can't read them again from where they came from must not forget
// them before they are acknowledged.
//
// A stream's life:
//
//	             ┌───────────── wait (backoff, RetryInfo) ◀──────────┐
//	             ▼                                                   │
//	Run ──▶ connecting ──Welcome──▶ streaming ──Draining──▶ draining ┤ any end
//	             │                      │                      │     │
//	             └──────────┬───────────┴──────────────────────┴─────┘
//	                        ▼
//	   ended: ctx done or Close (nil), or an error that a person must mend
//	   (UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT, UNIMPLEMENTED)
//
// Each stream has a connection of its own, so that the next one may reach another
// replica. There is no timer in batching: a batch leaves as soon as the window has
// room, with whatever gathered until then.
package client
