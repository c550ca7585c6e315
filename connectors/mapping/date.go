package mapping

import (
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/cockroachdb/apd/v3"
)

// Numbers below maxSeconds are unix seconds, those below maxMillis milliseconds: both
// from 1973 to 5138. What is less is a date such as 20261123, or none at all (0).
const (
	minSeconds = 100_000_000
	maxSeconds = 100_000_000_000
	maxMillis  = maxSeconds * 1000
)

const (
	notDate    = "it takes a date: RFC 3339, a date with or without a time (2026-11-23, 2026-11-23 10:00:00), unix seconds or milliseconds"
	badZone    = "the time zone is no name of the IANA database, like Asia/Jakarta"
	noZone     = "the time zone of the outlet is not known: the event names no outlet, or none of the configuration's"
	iso        = "iso"
	isoPattern = "yyyy-MM-ddTHH:mm:ssXXX"
)

// tokens are what a pattern is made of and Go's layouts for them, longer ones first.
var tokens = []struct{ pattern, layout string }{
	{"yyyy", "2006"},
	{"yy", "06"},
	{"MMMM", "January"},
	{"MMM", "Jan"},
	{"MM", "01"},
	{"M", "1"},
	{"dd", "02"},
	{"d", "2"},
	{"EEEE", "Monday"},
	{"EEE", "Mon"},
	{"HH", "15"},
	{"hh", "03"},
	{"h", "3"},
	{"mm", "04"},
	{"m", "4"},
	{"ss", "05"},
	{"s", "5"},
	{"SSS", "000"},
	{"a", "PM"},
	{"XXX", "Z07:00"},
	{"XX", "Z0700"},
}

const badPattern = "the pattern is no date's, like dd/MM/yyyy, yyyy-MM-dd HH:mm:ss or iso: it is made of yyyy yy MMMM MMM MM M dd d EEEE EEE HH hh h mm m ss s SSS a XXX XX, and of signs, T, and text in ' '"

// layouts are the patterns that were used, by their text. Patterns come from
// configurations, but one that is computed must not fill the memory.
var layouts = bounded256[string, []string]{make: parsePattern}

// zones are the time zones that were used, by their name.
var zones = bounded256[string, *time.Location]{make: func(name string) (*time.Location, bool) {
	if name == "" || name == "Local" {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}}

// bounded256 keeps what is made of a key, of the first 256.
type bounded256[K comparable, V any] struct {
	make func(K) (V, bool)
	mu   sync.RWMutex
	made map[K]V
}

func (b *bounded256[K, V]) get(key K) (V, bool) {
	b.mu.RLock()
	v, ok := b.made[key]
	b.mu.RUnlock()
	if ok {
		return v, true
	}
	if v, ok = b.make(key); !ok {
		return v, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.made == nil {
		b.made = make(map[K]V)
	}
	if len(b.made) < 256 {
		b.made[key] = v
	}
	return v, true
}

// parsePattern makes the pieces of a pattern: Go's layouts at odd places, plain text at
// even ones, which a layout would read digits and letters into.
func parsePattern(pattern string) ([]string, bool) {
	if pattern == iso {
		pattern = isoPattern
	}
	if pattern == "" || len(pattern) > 100 {
		return nil, false
	}
	pieces := []string{""}
	last := func(s string) { pieces[len(pieces)-1] += s }
next:
	for pattern != "" {
		if quoted, ok := strings.CutPrefix(pattern, "'"); ok {
			plain, rest, closed := strings.Cut(quoted, "'")
			if !closed {
				return nil, false
			}
			last(plain)
			pattern = rest
			continue
		}
		for _, t := range tokens {
			if rest, ok := strings.CutPrefix(pattern, t.pattern); ok && !(rest != "" && rest[0] == t.pattern[0]) {
				pieces = append(pieces, t.layout, "")
				pattern = rest
				continue next
			}
		}
		c := pattern[0]
		if c != 'T' && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80) {
			return nil, false
		}
		last(string(c))
		pattern = pattern[1:]
	}
	return pieces, true
}

// format writes a time by the pieces of a pattern.
func format(t time.Time, pieces []string) string {
	var out []byte
	for i, piece := range pieces {
		switch {
		case i%2 == 0:
			out = append(out, piece...)
		case piece == "000": // Go has a fraction behind a point only
			out = append(out, t.Format(".000")[1:]...)
		default:
			out = t.AppendFormat(out, piece)
		}
	}
	return string(out)
}

func declareDates() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function("date", cel.Overload("date_value_zone_pattern", []*cel.Type{cel.DynType, cel.StringType, cel.StringType}, cel.StringType,
			cel.FunctionBinding(func(args ...ref.Val) ref.Val {
				zone, ok := zones.get(string(args[1].(types.String)))
				if !ok {
					return fail(badZone)
				}
				pieces, ok := layouts.get(string(args[2].(types.String)))
				if !ok {
					return fail(badPattern)
				}
				at, failed := moment(args[0], zone)
				if failed != nil {
					return failed
				}
				return types.String(format(at, pieces))
			}))),
	}
}

// moment is a value as a time in a zone. A date without a time, and a time without an
// offset, are the zone's own.
func moment(v ref.Val, zone *time.Location) (time.Time, ref.Val) {
	var at time.Time
	switch v := v.(type) {
	case types.Timestamp:
		at = v.Time
	case types.Int:
		at = unix(apd.New(int64(v), 0))
	case *decimal:
		number, err := v.parsed()
		if err != nil {
			return at, err
		}
		at = unix(number)
	case types.String:
		at = parseMoment(string(v), zone)
	case types.Null:
		return at, nothing()
	}
	if at.IsZero() {
		return at, fail(notDate)
	}
	at = at.In(zone)
	if at.Year() < 1 || at.Year() > 9999 {
		return at, fail("a date is in the years 1 to 9999")
	}
	return at, nil
}

// withoutOffset are the notations that name no offset.
var withoutOffset = []string{"2006-01-02", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"}

func parseMoment(text string, zone *time.Location) time.Time {
	text = strings.TrimSpace(text)
	if len(text) > 40 {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05 -0700"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	for _, layout := range withoutOffset {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at
		}
	}
	if number, err := parseDecimal(text); err == nil {
		return unix(number)
	}
	return time.Time{}
}

// unix is a number of seconds or milliseconds since 1970, or the zero time where it can
// be neither.
func unix(number *apd.Decimal) time.Time {
	switch {
	case number.Cmp(apd.New(minSeconds, 0)) < 0 || number.Cmp(apd.New(maxMillis, 0)) >= 0:
		return time.Time{}
	case number.Cmp(apd.New(maxSeconds, 0)) >= 0:
		number = new(apd.Decimal).Set(number)
		number.Exponent -= 3
	}
	var whole, fraction apd.Decimal
	number.Modf(&whole, &fraction)
	seconds, err := whole.Int64()
	if err != nil {
		return time.Time{}
	}
	fraction.Exponent += 9
	fraction.Modf(&whole, nil)
	nanoseconds, err := whole.Int64()
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, nanoseconds)
}
