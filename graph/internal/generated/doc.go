// Package generated is the GraphQL server that gqlgen makes of schema.graphqls:
// `make graphql` makes it again.
package generated
