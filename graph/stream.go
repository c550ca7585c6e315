package graph

import (
	"net/http"
	"sync"
	"time"
)

// stream is the writer of an answer that has no end: the server's time-outs for
// whole answers do not hold for it, one for each write does, and nothing is written
// once the handler has returned (the transport's keep-alive may try).
type stream struct {
	http.ResponseWriter
	control *http.ResponseController

	mu    sync.Mutex
	ended bool
}

func newStream(w http.ResponseWriter) *stream {
	s := &stream{ResponseWriter: w, control: http.NewResponseController(w)}
	// A server or a recorder without deadlines has none to lift.
	_ = s.control.SetReadDeadline(time.Time{})
	_ = s.control.SetWriteDeadline(time.Time{})
	return s
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, http.ErrHandlerTimeout
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(writeWithin))
	return s.ResponseWriter.Write(p)
}

// Flush makes a *stream an http.Flusher.
func (s *stream) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(writeWithin))
	_ = s.control.Flush()
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	_ = s.control.SetWriteDeadline(time.Time{})
}
