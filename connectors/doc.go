// Package connectors holds the contract between the dispatcher and the systems
// that events are delivered to.
//
// A [Destination] turns one step of a delivery into one request ([Destination.Prepare],
// pure) and carries that request out ([Destination.Send], one request on the wire
// at most). Everything else is the dispatcher's: order, intents, retries, breakers,
// exceptions, the timeline.
//
//	event ─▶ Prepare ─▶ Request ─▶ (intent committed) ─▶ Send ─▶ Outcome
//
// Kinds of destination are made known to a [Registry] by the program that wires
// them; nothing registers itself.
package connectors
