// Package egress is the one way out: the HTTP client through which every
// destination, token refresh and notification of Raffs Sync is reached. It
// imports nothing else of the project and opens no connection until it is asked.
//
// What it promises:
//
//   - One [Client.Do] puts at most one request on the wire. Nothing below it
//     retries, follows a redirect or speaks to a proxy, so each request that a
//     platform sees is an attempt that the caller has recorded.
//   - The address is checked after DNS, on the socket that is about to connect,
//     so a name that changes its address between two look-ups gains nothing.
//     Only public addresses are reached unless [Config] allows others; cloud
//     metadata services are reached never.
//   - Time, connections, headers and bodies are bounded. Compressed answers are
//     not unpacked.
//   - A failure says whether the request can have reached the platform, and
//     says so conservatively: [ErrNotSent] is proven, everything else is
//     [ErrUnknown].
//   - No error text holds a path, query, credential, header or body, neither
//     ours nor the platform's.
//
// How far a call got, and what a failure there means:
//
//	request → resolve → connect → tls → send → answer → body
//	└──────────── ErrNotSent ────────┘    │  └── ErrUnknown ─┘
//	                                      └ ErrNotSent while no byte of the
//	                                        request was taken, then ErrUnknown
//
// # Why one Do is one request
//
// net/http sends a request again on a new connection when a kept-alive one
// breaks, if it takes the request to be repeatable: GET, HEAD, OPTIONS and TRACE
// without a body, anything with an Idempotency-Key or X-Idempotency-Key header
// and no body or a GetBody function. It asks its pool for a connection for each
// try, and tells [net/http/httptrace] so. The client counts the bytes that each
// connection takes; once one byte of a request has been taken, a further
// connection for the same Do is refused, whatever the method, the headers and
// the body. A try that failed before its first byte may go on to another
// connection, since no platform can have seen it.
//
// HTTP/2 is off. Its transport repeats requests after GOAWAY and REFUSED_STREAM
// beneath the hooks used here, and it would let one broken connection turn every
// request in flight to a platform into an unknown outcome.
package egress
