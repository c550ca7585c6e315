// Package model holds the GraphQL types that no row stands for. Most of it is
// generated from the schema.
package model

// SearchHit is a *view.Destination or a *view.Event.
type SearchHit any

// Payload is content of an event: one of its fields is set.
type Payload struct {
	Text   *string
	Base64 *string
}
