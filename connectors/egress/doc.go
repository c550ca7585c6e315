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
// net/http's Transport sends a request again on a new connection when a kept-alive one
// breaks, if it takes the request to be repeatable: GET, HEAD, OPTIONS and TRACE
// without a body, anything with an Idempotency-Key or X-Idempotency-Key header
// and no body or a GetBody function. It is not used here. A Do takes one connection,
// idle or new, writes one request to it by [http.Request.Write] and reads one answer
// by [http.ReadResponse]; nothing repeats any of that, and the connection counts the
// bytes that it took. That an idle one is still open is looked at before it is taken, so
// that what a platform closed in the meantime costs a new connection and no unknown outcome.
//
// It is also cheaper by a third: Transport hands each request to a goroutine that writes
// and has another one wait for the answer.
//
// There is no HTTP/2. Its streams are repeated after GOAWAY and REFUSED_STREAM, and it would
// let one broken connection turn every request in flight to a platform into an unknown
// outcome.
package egress
