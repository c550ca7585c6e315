// Package mapping evaluates what a configuration says about an event in CEL
// (https://cel.dev): at present the conditions and versions of routes. It is pure: the same
// expression, event and body always give the same answer, without clock or I/O.
//
// An expression sees two variables:
//
//	event   id, type, ordering_key, outlet (strings), references (a map of strings),
//	        occurred_at (a timestamp). A misspelt field is an error at load.
//	body    the payload, where it is JSON; null where it is not. Integers that fit
//	        64 bits are exact ints, every other number is a double.
//
// What a condition answers:
//
//	true       it matches
//	false      it does not
//	absent     it reads something that the body or the references do not hold: it
//	           does not match, whatever stands around it, so `body.a == 1` and
//	           `!(body.a == 1)` are both false without an `a`; has(body.a) asks
//	error      anything else: a string where a number was compared, a division by
//	           zero, more work than the limit. The caller is told; it is never taken
//	           for false, since that would be a silent failure.
//
// Null is a value, not an absence: `null > 0` is an error.
//
// A version gives a whole number, a text or a time. What is absent or null is no version;
// anything else is an error.
package mapping
