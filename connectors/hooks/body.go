package hooks

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"

	"raffsync/connectors/mapping"
)

// errNoRoom: more bodies are held than may be.
var errNoRoom = errors.New("more bodies are held than may be")

// raw is a request's body as it came.
type raw struct {
	data  []byte // its beginning, up to MaxBodyBytes
	total int64  // bytes of the whole
}

func (r *raw) complete() bool { return r.total == int64(len(r.data)) }

// chunks are what bodies are read into, piece by piece.
var chunks = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

const chunkBytes = 32 << 10

// readBody reads a body to its end, writes all of it to each, and keeps its beginning.
// take asks for room before it is used. An error that is not errNoRoom is the
// connection's, or that there is more than maxReadBytes.
func readBody(body io.Reader, keep int, take func(int64) bool, each io.Writer) (r raw, err error) {
	chunk := chunks.Get().(*[chunkBytes]byte)
	defer chunks.Put(chunk)
	for {
		n, err := body.Read(chunk[:])
		if n > 0 {
			_, _ = each.Write(chunk[:n]) // hashes, which do not fail
			r.total += int64(n)
			if room := min(n, keep-len(r.data)); room > 0 {
				if !take(int64(room)) {
					return r, errNoRoom
				}
				r.data = append(r.data, chunk[:room]...)
			}
		}
		switch {
		case err == io.EOF:
			return r, nil
		case err != nil:
			return r, err
		case r.total > maxReadBytes:
			return r, errTooLong
		}
	}
}

var errTooLong = errors.New("the body is longer than is read")

// decodeBody makes JSON in UTF-8 of what came: it unpacks and converts. Its error is a
// [*Nonsense].
func decodeBody(h http.Header, r *raw, most int) ([]byte, error) {
	if !r.complete() {
		return nil, nonsense("BODY_TOO_LARGE", "the body is larger than an event may be; its beginning is kept")
	}
	data, err := unpack(h, r.data, most)
	if err != nil {
		return nil, err
	}
	if data, err = toUTF8(h, data); err != nil {
		return nil, err
	}
	switch {
	case len(data) > most:
		return nil, nonsense("BODY_TOO_LARGE", "in UTF-8 the body is larger than an event may be")
	case len(bytes.TrimSpace(data)) == 0:
		return nil, nonsense("BODY_EMPTY", "the body is empty")
	case !mapping.ValidJSON(data):
		return nil, nonsense("BODY_NOT_JSON", "the body is no JSON")
	case duplicateName(data):
		return nil, nonsense("BODY_DUPLICATE_NAME", "an object in the body has the same name twice, so that it is not known which was meant")
	}
	return data, nil
}

// unpack undoes gzip, up to so many bytes.
func unpack(h http.Header, data []byte, most int) ([]byte, error) {
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ","))); encoding {
	case "", "identity":
		return data, nil
	case "gzip", "x-gzip":
	default:
		return nil, nonsense("BODY_ENCODING", "the content encoding is not known; gzip is, or none")
	}
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, nonsense("BODY_ENCODING", "the body is not gzip, as its content encoding has it")
	}
	defer reader.Close()
	unpacked, err := io.ReadAll(io.LimitReader(reader, int64(most)+1))
	switch {
	case len(unpacked) > most:
		return nil, nonsense("BODY_TOO_LARGE", "unpacked, the body is larger than an event may be; it is kept as it came")
	case err != nil:
		return nil, nonsense("BODY_ENCODING", "the body is not gzip to its end, as its content encoding has it")
	}
	return unpacked, nil
}

// toUTF8 converts from the charset that the media type declares; none is UTF-8.
func toUTF8(h http.Header, data []byte) ([]byte, error) {
	charset := ""
	if _, parameters, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil {
		charset = strings.ToLower(parameters["charset"])
	}
	switch charset {
	case "", "utf-8", "utf8", "us-ascii":
		data = bytes.TrimPrefix(data, []byte("\ufeff"))
		if !utf8.Valid(data) {
			return nil, nonsense("BODY_CHARSET", "the body is not UTF-8, and its content type declares no other charset")
		}
		return data, nil
	}
	encoding, err := htmlindex.Get(charset)
	if err != nil {
		return nil, nonsense("BODY_CHARSET", "the charset that the content type declares is not known")
	}
	converted, err := encoding.NewDecoder().Bytes(data)
	// What does not belong to the charset becomes U+FFFD, which it cannot hold itself.
	if err != nil || bytes.ContainsRune(converted, utf8.RuneError) {
		return nil, nonsense("BODY_CHARSET", "the body is not of the charset that its content type declares")
	}
	return bytes.TrimPrefix(converted, []byte("\ufeff")), nil
}
