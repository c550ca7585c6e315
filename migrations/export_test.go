package migrations

// For the tests, which bring files of their own.
var (
	UpFrom  = up
	HashOf  = hashOf
	Explain = explain
)

// Embedded are the files that the binary carries.
var Embedded = embedded

// LockKey is the number of the migrations' advisory lock.
const LockKey = int64(lockKey)
