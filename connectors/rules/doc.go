// Package rules decides what a platform's answer means: an ordered list of rules over
// status, headers and JSON paths into the body, written as data, makes one
// [Verdict] of an [Answer].
//
//	own rules ──┐
//	            ├─ Compile ─▶ Set ─▶ Classify(Answer) ─▶ Verdict
//	shipped  ───┘                └─▶ Check(recorded answers) ─▶ Report
//
// The first rule that matches decides. A destination's own rules come before those
// that ship with its connector, so that they can say otherwise; what no rule knows is
// UNCLASSIFIED. Attempts without any answer are not this package's business.
//
// # A rule
//
//   - name: period closed              # unique; it becomes the outcome's Rule
//     status: 200                      # 422, 4xx, 500-503, or a list: any of them
//     headers: {X-Api: {matches: ^v2}} # all of them, whatever value of a header
//     body:                            # all of them, whatever node of a path
//     $.s: false
//     $.d[*]: {contains: ditutup}
//     kind: PERIOD_CLOSED
//     code: $.code                     # a JSON path, or the name of a header
//
// A test is a value (equals), a list (one of), or a mapping with exists, equals,
// one_of, contains (ignoring case) and matches (RE2), all of which must hold of one
// node. Values are compared as they are written: 5 is not 5.0. A null does not exist.
//
// Where a rule does not say where code and field are, they are looked for in the
// places where such answers usually have them.
//
// # Promises
//
//   - Pure: no clock, no I/O. A set is immutable and for many goroutines.
//   - Bounded: the first [MaxBody] bytes of a body are looked at, texts in it as far as
//     1 KiB, nesting as far as 64. Paths are RFC 9535 without functions, and with as
//     much of the rest as visits each node of a body once.
//   - Whatever the answer, the verdict has a kind and a rule, and its texts are one
//     line of valid UTF-8, cut to a size.
//   - A condition holds only where what came proves it. Of a body that is cut, what
//     came is looked at; that something does not exist is never proven there. Where
//     the body broke off under a rule that looks into it, a later rule does not make
//     it DELIVERED: it is UNKNOWN_OUTCOME. What stands behind MaxBody is not seen, so
//     a platform that answers at length and reports failures with status 200 wants a
//     rule for success by a mark near the beginning, and one for the rest of 200.
//   - What is wrong with a rule is found when it is compiled: unknown fields and kinds,
//     paths and expressions that do not parse, tests that exclude each other, and rules
//     that are never reached because earlier ones take everything that they would.
//     That is proven by comparing statuses, and values of the same header or path; what
//     would take more reasoning is left to recorded answers.
package rules
