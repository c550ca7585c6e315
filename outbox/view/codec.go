package view

import (
	"encoding/base64"
	"encoding/binary"
	"time"
)

// Identifiers and cursors are fixed fields, big-endian, in base64url without
// padding. Each value has exactly one text, and every other text is refused.
var textual = base64.RawURLEncoding.Strict()

type encoder []byte

func (e encoder) byte(v byte) encoder { return append(e, v) }
func (e encoder) int16(v int16) encoder {
	return binary.BigEndian.AppendUint16(e, uint16(v))
}

func (e encoder) int32(v int32) encoder {
	return binary.BigEndian.AppendUint32(e, uint32(v))
}

func (e encoder) int64(v int64) encoder {
	return binary.BigEndian.AppendUint64(e, uint64(v))
}
func (e encoder) time(t time.Time) encoder { return e.int64(t.UnixMicro()) }
func (e encoder) String() string           { return textual.EncodeToString(e) }

// decoder takes fields off; ok turns false, and stays so, once one is missing or
// out of range.
type decoder struct {
	rest []byte
	ok   bool
}

func decode(text string) decoder {
	// The decoder of the standard library skips line breaks, even where strict.
	raw, err := textual.DecodeString(text)
	return decoder{rest: raw, ok: err == nil && textual.EncodedLen(len(raw)) == len(text)}
}

func (d *decoder) take(n int) []byte {
	if !d.ok || len(d.rest) < n {
		d.ok = false
		return make([]byte, n)
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte   { return d.take(1)[0] }
func (d *decoder) int16() int16 { return int16(binary.BigEndian.Uint16(d.take(2))) }
func (d *decoder) int32() int32 { return int32(binary.BigEndian.Uint32(d.take(4))) }
func (d *decoder) int64() int64 { return int64(binary.BigEndian.Uint64(d.take(8))) }

// Times of rows: Postgres keeps microseconds, and no row of ours is older than 1970
// or younger than 9999.
func (d *decoder) time() time.Time {
	micros := d.int64()
	if micros < 0 || micros > latest.UnixMicro() {
		d.ok = false
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// done tells whether every field was there, and nothing else.
func (d *decoder) done() bool { return d.ok && len(d.rest) == 0 }

// The bounds of a walk that has no cursor yet.
var (
	earliest = time.UnixMicro(0).UTC()
	latest   = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)
