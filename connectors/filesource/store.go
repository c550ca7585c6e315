package filesource

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
)

// store holds the lines of a file by event, compactly: few pointers, no string
// headers. A line is its fields, each after its length, in one of the chunks; the
// lines of an event are a linked list in the order of the file.
type store struct {
	chunks [][]byte
	lines  []line
	groups []group
	byID   map[string]int32
}

type line struct {
	chunk, offset uint32
	// number counts from 1, the header included.
	number uint32
	// next is the following line of the same event, -1 at the last.
	next int32
}

type group struct {
	id          string
	first, last int32
	count       int32
}

const chunkBytes = 1 << 20

// errTooMuch is an input over [Config.MaxBytes].
var errTooMuch = errors.New("too many bytes")

func newStore() *store { return &store{byID: map[string]int32{}} }

// add keeps the line for the event of the id.
func (s *store) add(id string, number int, fields []string) error {
	if len(s.lines) >= math.MaxInt32 || uint64(number) > math.MaxUint32 {
		return errTooMuch
	}
	size := 0
	for _, f := range fields {
		size += len(f) + binary.MaxVarintLen32
	}
	last := len(s.chunks) - 1
	if last < 0 || cap(s.chunks[last])-len(s.chunks[last]) < size {
		s.chunks = append(s.chunks, make([]byte, 0, max(size, chunkBytes)))
		last++
	}
	chunk := s.chunks[last]
	l := line{chunk: uint32(last), offset: uint32(len(chunk)), number: uint32(number), next: -1}
	for _, f := range fields {
		chunk = binary.AppendUvarint(chunk, uint64(len(f)))
		chunk = append(chunk, f...)
	}
	s.chunks[last] = chunk
	at := int32(len(s.lines))
	s.lines = append(s.lines, l)

	g, known := s.byID[id]
	if !known {
		// The id may be a part of a whole line, which would be kept with it.
		id = strings.Clone(id)
		s.byID[id] = int32(len(s.groups))
		s.groups = append(s.groups, group{id: id, first: at, last: at, count: 1})
		return nil
	}
	s.lines[s.groups[g].last].next = at
	s.groups[g].last = at
	s.groups[g].count++
	return nil
}

// fields reads a line into the slice, whose length is the number of columns.
func (s *store) fields(at int32, fields [][]byte) {
	l := s.lines[at]
	rest := s.chunks[l.chunk][l.offset:]
	for i := range fields {
		size, n := binary.Uvarint(rest)
		fields[i] = rest[n : n+int(size)]
		rest = rest[n+int(size):]
	}
}

// numbers are the line numbers of an event.
func (s *store) numbers(g group) []int {
	numbers := make([]int, 0, g.count)
	for at := g.first; at >= 0; at = s.lines[at].next {
		numbers = append(numbers, int(s.lines[at].number))
	}
	return numbers
}
