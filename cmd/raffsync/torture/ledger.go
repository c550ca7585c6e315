package torture

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// sent is one event as a client sent it, and when it was acknowledged.
type sent struct {
	ID     string            `json:"id"`
	Key    string            `json:"key"`
	Hash   [sha256.Size]byte `json:"-"` // of the data
	Client string            `json:"client"`
	Number int               `json:"number"` // in the order of the client's sending

	SentAt  time.Time `json:"-"`
	AckedAt time.Time `json:"-"` // zero: never
}

// ledger is what the clients did. An acknowledgement counts once its line is synced.
type ledger struct {
	file  *os.File
	lines chan sent
	done  chan error

	mu     sync.Mutex
	all    map[string]*sent
	acked  []string // ids, in the order of acknowledgement
	second map[[sha256.Size]byte]string
	wrong  []string
	onAck  func() // called once at the next acknowledgement, before it is counted
}

func newLedger(path string) (*ledger, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &ledger{
		file: file, lines: make(chan sent, 1<<14), done: make(chan error, 1),
		all: make(map[string]*sent), second: make(map[[sha256.Size]byte]string),
	}
	go func() { l.done <- l.write() }()
	return l, nil
}

// sending notes an event before it is sent for the first time.
func (l *ledger) sending(s sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.SentAt = time.Now()
	l.all[s.ID] = &s
}

// acknowledged notes that the broker said that the event is durable.
func (l *ledger) acknowledged(id string) {
	l.mu.Lock()
	hook := l.onAck
	l.onAck = nil
	s := *l.all[id]
	l.mu.Unlock()
	if hook != nil {
		hook()
	}
	s.AckedAt = time.Now()
	l.lines <- s
}

// conflict notes that a second content was acknowledged as one.
func (l *ledger) conflict(id string, hash [sha256.Size]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.second[hash] = id
}

// protest notes an answer that no client should ever get.
func (l *ledger) protest(format string, arguments ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, arguments...))
}

// wrongOrder tells whether the event places an order of what is not sold.
func (l *ledger) wrongOrder(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.all[id]
	return s != nil && placed(s.Number) && skuOf(orderOf(s.Number)) == wrongSKU
}

// atNextAck calls f when the next acknowledgement arrives; nil takes that back.
func (l *ledger) atNextAck(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onAck = f
}

// some returns up to n events that were acknowledged, beginning at a place chosen by at.
func (l *ledger) some(n, at int) []sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []sent
	for i := range min(n, len(l.acked)) {
		found = append(found, *l.all[l.acked[(at+i)%len(l.acked)]])
	}
	return found
}

// write syncs what gathers in groups, and counts it then.
func (l *ledger) write() error {
	for first := range l.lines {
		group := []sent{first}
		for len(l.lines) > 0 {
			group = append(group, <-l.lines)
		}
		var text []byte
		for _, s := range group {
			line, err := json.Marshal(s)
			if err != nil {
				return err
			}
			text = append(append(text, line...), '\n')
		}
		if _, err := l.file.Write(text); err != nil {
			return err
		}
		if err := l.file.Sync(); err != nil {
			return err
		}
		l.mu.Lock()
		for _, s := range group {
			if known := l.all[s.ID]; known.AckedAt.IsZero() {
				known.AckedAt = s.AckedAt
				l.acked = append(l.acked, s.ID)
			}
		}
		l.mu.Unlock()
	}
	return nil
}

// close returns when everything that was acknowledged is counted.
func (l *ledger) close() error {
	close(l.lines)
	if err := <-l.done; err != nil {
		return fmt.Errorf("the clients' ledger: %w", err)
	}
	return l.file.Close()
}
