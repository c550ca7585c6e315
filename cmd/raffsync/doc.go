// Command raffsync keeps a business's systems in step when they fail.
//
// This package holds flags, wiring and signals; what the commands do stands in the
// packages that it wires together.
//
//	main ─▶ command ─▶ database (yours, or an embedded one) ─▶ app: store, broker, dispatcher, API
//
// An app is started in the order in which its parts need each other, and stopped in
// the opposite one: sources are asked to drain before the dispatcher finishes what is
// on the wire, and Postgres goes last.
package main
