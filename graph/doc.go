// Package graph is the GraphQL API: what operators see of one tenant, the transitions
// that they make, and a live feed.
//
// One handler serves /graphql (POST, server-sent events, WebSocket with
// graphql-transport-ws) and, in development, GraphiQL at /.
//
// What it promises:
//
//   - A credential comes first: HTTP Basic with an operator's name and secret, or for
//     a WebSocket the same in connection_init within 5 s. Nothing of another tenant
//     is reachable; the view sees to that in the database.
//
//   - A request costs a bounded amount: 256 KiB, 2,000 tokens, depth 10, 30 aliases,
//     complexity 300, at most 100 nodes a page, lists of lists by one statement each.
//
//   - An internal message never reaches a caller: errors.go is the one table that
//     turns errors into codes; whatever it does not know is logged under a reference,
//     and the reference is what the caller gets.
//
//   - The live feed misses nothing, late commits included, and no reader holds up
//     another:
//
//     poll (500 ms, or poked) ──▶ horizon ──▶ entries since the last horizon
//     │  those seen before are known by id
//     ▼
//     each subscriber's buffer ── full ──▶ lagged, ended
//
// Schema and resolvers: schema.graphqls is the contract; gqlgen generates
// internal/generated and internal/model from it (`go generate ./graph`).
package graph

//go:generate go -C .. tool gqlgen generate --config graph/gqlgen.yml
