// Package connectortest is the conformance suite of destinations that speak HTTP.
//
// A connector's test says in a [Harness] how its destination is built and what its
// platform answers, and calls [Run]. That holds the destination to the promises of
// [connectors.Destination] on real servers on loopback:
//
//   - Prepare is pure, and leaves the event alone, whatever the data is;
//   - one Send is at most one request on the wire: no redirect followed, nothing
//     sent again when a kept connection breaks;
//   - so many Sends at once are no more requests at once, and none is left when they have
//     returned: by that the dispatcher keeps the limits that a destination declares, as
//     TestDestinations_KeepTheirLimits of cmd/raffsync holds each that ships to;
//   - the outcome says whether the platform may have had an effect, when it
//     answers, refuses, resets, hangs, or talks nonsense;
//   - Send ends when its context does;
//   - no secret is seen in an outcome, an error, a log or a formatted value, even
//     where the platform quotes it; no payload either, but in the excerpt;
//   - sent again, a request is the same: to a platform that goes by key or content, no
//     second effect;
//   - where it can preview, that is what is sent; where its requests tell their content,
//     it depends on nothing of the attempt; where it can be asked whether the connection
//     works, one question that changes nothing;
//   - all of it from many goroutines at once (run it with -race).
//
// The suite replaces the default loggers of slog and log while it runs: tests that
// call Run must not be parallel to others that log.
package connectortest
