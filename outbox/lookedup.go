package outbox

// LookedUp is a look-up that found something, on the way of a request.
type LookedUp struct {
	Table, Value string
	MappingEntry
}

// MaxLookedUp is the most that is kept of one request's look-ups: far more than the
// largest order has lines.
const MaxLookedUp = 2000
