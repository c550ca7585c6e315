package outbox

import "time"

// DispatchSettings are those of a replica's sessions.
var DispatchSettings = dispatchSettings

// WriterSettings are those of a writer's session.
var WriterSettings = writerSettings

// SetTimeout bounds the writer's transactions, COMMIT included.
func (w *Writer) SetTimeout(d time.Duration) { w.timeout = d }

// AppendTimeout is how long they take at most where nobody says otherwise.
const (
	AppendTimeout = appendTimeout
	// CopyFrom is the number of entries from which a batch goes by COPY.
	CopyFrom = copyFrom
)
