package hooks

import (
	"context"
	"crypto/sha256"
	"net/http"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Sample makes the event of a webhook that lies in a file, as it is received but for its
// signature: one that [ReadRecorded] takes, or its body alone. Its error is a [*Nonsense].
func (s *Source) Sample(ctx context.Context, content []byte) (*raffsyncv1.Event, error) {
	h, body := http.Header{}, content
	if recorded, ok := ReadRecorded(content); ok {
		h, body = recorded.Header, recorded.Body
	}
	s.Address(h, "", "sample")
	return s.eventOf(ctx, h, "", &raw{data: body, total: int64(len(body))}, sha256.Sum256(body))
}
