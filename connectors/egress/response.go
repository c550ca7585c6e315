package egress

import (
	"io"
	"net/http"
	"time"
)

// What is read of an answer past MaxBody, only to keep its connection: no more
// than a new connection would cost.
const (
	drainBytes = 64 << 10
	drainTime  = 250 * time.Millisecond
)

// Response is a platform's answer.
type Response struct {
	Status int
	Header http.Header // at most Config.MaxHeader bytes
	// Body is what came, at most Config.MaxBody bytes, still compressed where
	// the platform compressed it. It may hold secrets: keep [Excerpt] of it.
	Body      []byte
	Truncated bool // there was, or may have been, more than Body
	Reused    bool // the connection had carried a request before
}

// read keeps limit bytes of body. Past them nothing fails any more: the answer is
// known, and what is left is read for the sake of the connection alone.
func (r *Response) read(body io.Reader, limit int, conn io.Closer) error {
	if body == http.NoBody { // as of 204: no buffer to find that out
		return nil
	}
	kept, err := io.ReadAll(io.LimitReader(body, int64(limit)))
	r.Body = kept
	if err != nil {
		r.Truncated = true
		return err
	}
	if len(kept) < limit {
		return nil
	}
	timer := time.AfterFunc(drainTime, func() { conn.Close() })
	defer timer.Stop()
	more, err := io.CopyN(io.Discard, body, drainBytes)
	r.Truncated = more > 0 || err != io.EOF
	return nil
}
