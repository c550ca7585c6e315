// Package console is the page in front of the API: what needs a person, and one exception
// with all that can be done about it; under #api GraphiQL, for whoever asks the API itself.
// It is bundled from npm into files that are committed, so that neither a build nor a
// browser needs anything from elsewhere.
//
// It is a GraphQL client and nothing else. `go generate ./graph/console` rebuilds the
// bundle (npm is needed then, and only then); a test does the same and compares.
package console

//go:generate go run ./bundle
