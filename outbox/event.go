package outbox

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Event is an immutable fact, valid by the contract in proto/raffsync/v1.
type Event struct {
	Tenant      string
	Source      int32 // id of the source
	ID, Type    string
	OrderingKey string
	OccurredAt  time.Time // kept to the microsecond; zero: the time of acceptance
	Outlet      string
	References  map[string]string
	ContentType string
	Payload     []byte
}

// Hash identifies the content: two events with one id are the same event when
// their hashes are equal. It is the SHA-256 of every field but the id, each
// prefixed by its length, references sorted by name.
func (e *Event) Hash() [sha256.Size]byte {
	h := sha256.New()
	var n [8]byte
	number := func(v uint64) {
		binary.BigEndian.PutUint64(n[:], v)
		h.Write(n[:])
	}
	text := func(s string) {
		number(uint64(len(s)))
		h.Write([]byte(s))
	}
	text(e.Type)
	text(e.OrderingKey)
	number(uint64(e.OccurredAt.UnixMicro()))
	text(e.Outlet)
	text(e.ContentType)
	number(uint64(len(e.References)))
	if len(e.References) > 0 { // sorting none costs two allocations, for every event
		for _, name := range slices.Sorted(maps.Keys(e.References)) {
			text(name)
			text(e.References[name])
		}
	}
	number(uint64(len(e.Payload)))
	h.Write(e.Payload)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// KeyHash stands for (tenant, ordering key) wherever rows are lined up: xxHash64,
// fixed for the life of a database. Two keys that share one wait for each other
// and suffer no other harm.
func KeyHash(tenant, orderingKey string) int64 {
	var d xxhash.Digest
	d.Reset()
	d.WriteString(tenant)
	d.Write([]byte{0}) // no text holds a NUL
	d.WriteString(orderingKey)
	return int64(d.Sum64())
}

// LaneOf is the lane of a key among n.
func LaneOf(keyHash int64, n int) int16 { return int16(uint64(keyHash) % uint64(n)) }

// Seq is the position of an event: its writer's number times 2^40, plus a counter
// that rises in commit order within a lane. It orders events of one writer; across
// writers, the time of acceptance does.
type Seq int64

const counterBits = 40

func newSeq(writer, counter int64) Seq { return Seq(writer<<counterBits | counter) }

// Writer is the number of the writer that appended it.
func (s Seq) Writer() int64 { return int64(s) >> counterBits }

// EventID names an event for the API. The time spares the search for its partition.
type EventID struct {
	AcceptedAt time.Time
	Seq        Seq
}

// DeliveryID names a delivery, open or terminal: (event, destination, replay).
type DeliveryID struct {
	Event       EventID
	Destination int32
	Replay      int32
}
