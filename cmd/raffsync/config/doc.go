// Package config turns one strict YAML file into what the process needs and what is
// applied to the database: listeners and connection on one side,
// [outbox.Configuration] on the other.
//
//	bytes ─▶ syntax tree ─▶ fields ─▶ names, connectors, rules ─▶ File
//	             │             │              │
//	             └─────────────┴──────────────┴─▶ Problems: line, column, found, expected
//
// What it promises:
//
//   - Nothing is guessed. An unknown field, a name defined twice, a number out of
//     range, a duration without unit, an anchor, a tag: each is a problem, and as many
//     as can be found are reported at once.
//   - No secret is shown. A file holds references ("env:NAME", "file:PATH"); where a
//     literal stands in the place of one, neither the message nor the line quoted
//     below it repeats it.
//   - Any file comes to an end: 256 KiB, 40,000 tokens and 32 levels at most.
//
// The tables in fields.go are the format: they decode, they suggest what was meant,
// and [Reference] is printed from them.
package config
