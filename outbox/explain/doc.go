// Package explain says in words for a shop what an exception is: what happened, why, what
// to do next and whose turn it is, in English and in Indonesian.
//
// It is pure: the words depend on the class of the exception, what it is about, and the
// language. Nothing of a payload stands in them but the value that a look-up missed, which
// is what somebody has to add.
package explain
