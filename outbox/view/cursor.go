package view

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrCursor: the text is no cursor of the list that it was given to.
var ErrCursor = errors.New("this is not a cursor of this list; take endCursor as the API gave it")

// cursorVersion rises when the meaning of the fields changes, so that a cursor that
// a client kept over an upgrade is refused instead of misread.
const cursorVersion = 1

// list tells cursors apart, so that one of another list is refused.
type list byte

const (
	listEvents     list = 'e'
	listSearch     list = 's'
	listOpen       list = 'o'
	listExceptions list = 'x'
	listHeld       list = 'h'
	listConflicts  list = 'c'
	listQuarantine list = 'q'
	listNeeds      list = 'n'
	listTimeline   list = 't'
	listChanges    list = 'l'
	listMapping    list = 'm'
	listHistory    list = 'v'
	listGaps       list = 'g'
	listRanked     list = 'r'
	listUses       list = 'u'
)

func newCursor(l list) encoder { return encoder{cursorVersion, byte(l)} }

func openCursor(l list, text string) decoder {
	d := decode(text)
	if version, kind := d.byte(), d.byte(); version != cursorVersion || kind != byte(l) {
		d.ok = false
	}
	return d
}

// moment is a place in a list that is ordered by a time and a number.
type moment struct {
	at     time.Time
	number int64
}

func (m moment) cursor(l list) string { return newCursor(l).time(m.at).int64(m.number).String() }

// momentBefore reads a cursor of a list that runs backwards, momentAfter of one
// that runs forwards; without a cursor the walk begins at its end.
func momentBefore(l list, text string) (moment, error) {
	return parseMoment(l, text, moment{latest, math.MaxInt64})
}

func momentAfter(l list, text string) (moment, error) {
	return parseMoment(l, text, moment{earliest, math.MinInt64})
}

func parseMoment(l list, text string, start moment) (moment, error) {
	if text == "" {
		return start, nil
	}
	d := openCursor(l, text)
	m := moment{d.time(), d.int64()}
	if !d.done() {
		return moment{}, ErrCursor
	}
	return m, nil
}

// cell is a place in what an exception holds.
type cell struct {
	lane        int16
	destination int32
	seq         int64
}

// The bounds of what an exception holds.
var (
	firstCell = cell{lane: -1}
	lastCell  = cell{math.MaxInt16, math.MaxInt32, math.MaxInt64}
)

func (c cell) cursor() string {
	return newCursor(listHeld).int16(c.lane).int32(c.destination).int64(c.seq).String()
}

func parseCell(text string) (cell, error) {
	if text == "" {
		return firstCell, nil
	}
	d := openCursor(listHeld, text)
	c := cell{d.int16(), d.int32(), d.int64()}
	if !d.done() {
		return cell{}, ErrCursor
	}
	return c, nil
}

// cause is a place in what needs action: an exception, and a place in what it holds.
type cause struct {
	moment
	cell
}

func (c cause) cursor() string {
	return newCursor(listNeeds).time(c.at).int64(c.number).int16(c.lane).int32(c.destination).int64(c.seq).String()
}

func parseCause(text string) (cause, error) {
	if text == "" {
		return cause{moment{earliest, 0}, firstCell}, nil
	}
	d := openCursor(listNeeds, text)
	c := cause{moment{d.time(), d.int64()}, cell{d.int16(), d.int32(), d.int64()}}
	if !d.done() {
		return cause{}, ErrCursor
	}
	return c, nil
}

// position is a place in the open deliveries.
type position struct {
	seq         int64
	destination int32
}

func (p position) cursor() string {
	return newCursor(listOpen).int64(p.seq).int32(p.destination).String()
}

func parsePosition(text string) (position, error) {
	if text == "" {
		return position{}, nil
	}
	d := openCursor(listOpen, text)
	p := position{d.int64(), d.int32()}
	if !d.done() || p.seq < 0 {
		return position{}, ErrCursor
	}
	return p, nil
}

// content is a place in the second contents that an exception keeps.
type content struct {
	at     time.Time
	source int32
	hash   [32]byte
	id     string
}

func (c content) cursor() string {
	e := newCursor(listConflicts).time(c.at).int32(c.source)
	return append(append(e, c.hash[:]...), c.id...).String()
}

func parseContent(text string) (content, error) {
	if text == "" {
		return content{at: earliest}, nil
	}
	d := openCursor(listConflicts, text)
	c := content{at: d.time(), source: d.int32(), hash: [32]byte(d.take(32))}
	c.id = string(d.rest)
	if !d.ok || !storable(c.id) {
		return content{}, ErrCursor
	}
	return c, nil
}

// hit is a place among the results of a search.
type hit struct {
	rank byte
	moment
}

func (h hit) cursor() string {
	return newCursor(listSearch).byte(h.rank).time(h.at).int64(h.number).String()
}

func parseHit(text string) (hit, error) {
	if text == "" {
		return hit{rankDestination, moment{latest, math.MaxInt64}}, nil
	}
	d := openCursor(listSearch, text)
	h := hit{rank: d.byte(), moment: moment{d.time(), d.int64()}}
	if !d.done() || h.rank > rankOrderingKey {
		return hit{}, ErrCursor
	}
	return h, nil
}

// mappingValue is a place in a mapping table.
type mappingValue string

func (v mappingValue) cursor() string { return append(newCursor(listMapping), v...).String() }

func parseMappingValue(text string) (mappingValue, error) {
	if text == "" {
		return "", nil // the default, which stands before all entries and is not one
	}
	d := openCursor(listMapping, text)
	if !d.ok || !storable(string(d.rest)) {
		return "", ErrCursor
	}
	return mappingValue(d.rest), nil
}

// revision is a place in the history of mappings.
type revision struct {
	version     int64
	destination int32
	table       string
	value       string
}

func (r revision) cursor() string {
	e := newCursor(listHistory).int64(r.version).int32(r.destination).byte(byte(len(r.table)))
	return append(append(e, r.table...), r.value...).String()
}

func parseRevision(text string) (revision, error) {
	if text == "" {
		return revision{version: math.MaxInt64}, nil
	}
	d := openCursor(listHistory, text)
	r := revision{version: d.int64(), destination: d.int32()}
	r.table = string(d.take(int(d.byte())))
	r.value = string(d.rest)
	if !d.ok || !storable(r.table) || r.value != "" && !storable(r.value) {
		return revision{}, ErrCursor
	}
	return r, nil
}

// gap is a place among what mapping tables miss.
type gap struct {
	held, exception int64
}

func (g gap) cursor() string { return newCursor(listGaps).int64(g.held).int64(g.exception).String() }

func parseGap(text string) (gap, error) {
	if text == "" {
		return gap{held: math.MaxInt64}, nil
	}
	d := openCursor(listGaps, text)
	g := gap{d.int64(), d.int64()}
	if !d.done() {
		return gap{}, ErrCursor
	}
	return g, nil
}

// rank is a place among exceptions in an order other than that of time. What it stands
// for may have moved meanwhile: the cursor stays where it was.
type rank struct {
	order     byte
	Rank      string // a decimal
	Keys, Age int64  // among those of one rank
	exception int64
}

func (r rank) cursor() string {
	return append(newCursor(listRanked).byte(r.order).int64(r.exception).int64(r.Keys).int64(r.Age), r.Rank...).String()
}

func parseRank(order byte, text string) (rank, error) {
	if text == "" {
		return rank{order: order, Rank: "1e30"}, nil // before all of them
	}
	d := openCursor(listRanked, text)
	r := rank{order: d.byte(), exception: d.int64(), Keys: d.int64(), Age: d.int64()}
	r.Rank = string(d.rest)
	if !d.ok || r.order != order || r.exception < 0 || !decimal.MatchString(r.Rank) {
		return rank{}, ErrCursor
	}
	return r, nil
}

var decimal = regexp.MustCompile(`^-?[0-9]{1,60}(\.[0-9]{1,20})?$`)

// storable tells whether Postgres could hold a text: it holds neither a NUL nor invalid
// UTF-8, and would say so.
func storable(text string) bool {
	return text != "" && utf8.ValidString(text) && !strings.Contains(text, "\x00")
}

// FormatHorizon gives the cursor of the live feed that stands for a time.
func FormatHorizon(at time.Time) string { return newCursor(listChanges).time(at).String() }

// ParseHorizon reads what FormatHorizon gave, or fails with [ErrCursor].
func ParseHorizon(text string) (time.Time, error) {
	d := openCursor(listChanges, text)
	at := d.time()
	if !d.done() {
		return time.Time{}, ErrCursor
	}
	return at, nil
}
