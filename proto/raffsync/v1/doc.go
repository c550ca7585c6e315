// Package raffsyncv1 is the wire contract of Raffs Sync, generated from the .proto
// files beside it: the ingest stream that connectors speak, and the kinds of outcome
// that an attempt may come to. Field comments state limits; the rules that enforce
// them stand in the same files, as protovalidate options.
//
// The contract grows and never breaks: `make breaking` holds it against the baseline
// that is committed in proto/.
package raffsyncv1
