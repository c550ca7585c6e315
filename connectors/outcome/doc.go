// Package outcome says in the words of [connectors.Outcome] what a request through
// egress came to, for every destination that speaks HTTP: what its rules made of the
// answer, or what it means that there is none.
//
//	egress.Do ─┬─ Response ─▶ rules.Set ─▶ Of ─▶ Outcome
//	           └─ Error ────────────────▶ Failure ─▶ Outcome
//
// What gets no answer is no rule's business:
//
//	"address not allowed"          VALIDATION: the egress guard refuses it
//	"no address", "no connection", "no TLS", "time-out before sending",
//	"cancelled before sending"     TRANSIENT: nothing was sent
//	"no answer", "time-out after sending",
//	"cancelled after sending"      UNKNOWN_OUTCOME
//
// Nothing that was sent in confidence is in an outcome, even where the platform quotes
// it: [Scrub].
package outcome
