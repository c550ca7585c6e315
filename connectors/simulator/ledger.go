package simulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// errLocked says that another process holds the ledger.
var errLocked = errors.New("the ledger is open in another process")

// ledger is a book that is durable: a file of JSON lines, append-only.
//
// Lines are written in groups: whoever comes while the disk is busy joins the next
// group, and one fsync serves it.
type ledger struct {
	file *os.File
	sync func() error // the file's
	// forgetful: a key that has had its effect has another. Set before the first request.
	forgetful bool

	mu      sync.Mutex // guards what follows
	book    *book
	next    *group
	durable int64 // bytes of the file that are synced
	err     error // why the ledger writes no more

	disk   sync.Mutex // held by the one who writes; taken before mu
	failed chan struct{}
}

// group is lines that become durable together. Its done and err are guarded by the
// ledger's disk mutex, its lines by mu.
type group struct {
	lines []byte
	done  bool
	err   error
}

// openLedger reads the ledger at path, making it where there is none. A last line
// that was torn by a crash is cut off: it was never answered. The error is
// errLocked while another process has it open.
func openLedger(path string) (*ledger, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &ledger{file: file, sync: file.Sync, next: &group{}, failed: make(chan struct{})}
	if err := l.open(path); err != nil {
		return nil, errors.Join(fmt.Errorf("ledger %s: %w", path, err), file.Close())
	}
	return l, nil
}

func (l *ledger) open(path string) error {
	if err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return errLocked
		}
		return fmt.Errorf("lock: %w", err)
	}
	b := newBook()
	whole, err := readLines(l.file, func(r *Request) error {
		if r.Seq != b.seq+1 {
			return fmt.Errorf("sequence %d after %d: the file was changed or is damaged; move it away to start anew", r.Seq, b.seq)
		}
		b.add(r)
		return nil
	})
	if err != nil {
		return err
	}
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > whole {
		if err := l.file.Truncate(whole); err != nil {
			return fmt.Errorf("cut the torn last line: %w", err)
		}
	}
	// What a dead process wrote and did not sync is in the book now: it has to be
	// durable before it is answered as a repeat. The folder's entry too.
	if err := errors.Join(l.file.Sync(), syncFolder(filepath.Dir(path))); err != nil {
		return err
	}
	l.book, l.durable = b, whole
	return nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// attempts is how many requests have come with the key.
func (l *ledger) attempts(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.keys[key].requests
}

// record decides what comes of the request, unless its Result says it already,
// writes its line and returns when that is durable. effect is the number of the
// effect that the request brought about or repeated.
func (l *ledger) record(r *Request) (effect int64, err error) {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return 0, l.err
	}
	if r.Result == "" {
		switch known := l.book.keys[r.Key]; {
		case known.effect == 0 || l.forgetful:
			r.Result = ResultEffect
		case known.body == r.Body:
			r.Result = ResultRepeat
		default:
			r.Result, r.Code, r.Fault = ResultRefused, codeKeyReused, FaultNone
		}
	}
	r.Seq = l.book.seq + 1
	line, err := json.Marshal(r)
	if err != nil {
		l.mu.Unlock()
		return 0, fmt.Errorf("ledger: %w", err)
	}
	l.book.add(r)
	effect = l.book.keys[r.Key].effect
	mine := l.next
	mine.lines = append(append(mine.lines, line...), '\n')
	l.mu.Unlock()
	return effect, l.commit(mine)
}

// commit returns when the group is durable. The first of it to come writes for all;
// the others wait at the mutex meanwhile and find it done.
func (l *ledger) commit(mine *group) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if mine.done {
		return mine.err
	}
	l.mu.Lock()
	l.next = &group{}
	err := l.err
	l.mu.Unlock()
	if err == nil {
		if _, err = l.file.Write(mine.lines); err == nil {
			err = l.sync()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	mine.done, mine.err = true, err
	if err == nil {
		l.durable += int64(len(mine.lines))
		return nil
	}
	// The book holds effects that the disk does not: nothing may be answered from
	// it any more.
	if l.err == nil {
		l.err = fmt.Errorf("ledger: %w", err)
		close(l.failed)
	}
	return l.err
}

// effectOf is the number of the key's last effect, 0 where it has none. It returns once
// that is durable.
func (l *ledger) effectOf(key string) (int64, error) {
	l.mu.Lock()
	effect, pending, err := l.book.keys[key].effect, l.next, l.err
	l.mu.Unlock()
	if err != nil || effect == 0 {
		return 0, err
	}
	return effect, l.commit(pending) // its line is in there, on its way, or there already
}

// summary counts lines that may still be on their way to the disk.
func (l *ledger) summary() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.book.summary
	s.ByType, s.Refusals, s.Faults = maps.Clone(s.ByType), maps.Clone(s.Refusals), maps.Clone(s.Faults)
	return s
}

// read gives the durable lines to each, in order, until it returns an error.
func (l *ledger) read(each func(*Request) error) error {
	l.mu.Lock()
	durable := l.durable
	l.mu.Unlock()
	_, err := readLines(io.NewSectionReader(l.file, 0, durable), each)
	return err
}

// broken is why the ledger writes no more, nil while it does.
func (l *ledger) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// close gives the ledger up; what was answered is durable already.
func (l *ledger) close() error {
	l.disk.Lock()
	defer l.disk.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = errors.New("ledger: closed")
	}
	return l.file.Close()
}

// ReadLedger gives the lines of the ledger at path to each, in order, until it
// returns an error, which it returns. A torn last line is left out. The platform
// may be running meanwhile: lines that it has answered are all there.
func ReadLedger(path string, each func(*Request) error) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer file.Close()
	if _, err := readLines(file, each); err != nil {
		return fmt.Errorf("ledger %s: %w", path, err)
	}
	return nil
}

// readLines returns how many bytes are whole lines. Only the last line may be bad.
func readLines(from io.Reader, each func(*Request) error) (whole int64, err error) {
	reader := bufio.NewReaderSize(from, 64<<10)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return whole, err
		}
		if err == io.EOF { // nothing, or a line without its end
			return whole, nil
		}
		var r Request
		if err := json.Unmarshal(line, &r); err != nil {
			if _, end := reader.Peek(1); end == io.EOF {
				return whole, nil
			}
			return whole, fmt.Errorf("line %d: %w: the file was changed or is damaged; move it away to start anew", number, err)
		}
		if err := each(&r); err != nil {
			return whole, fmt.Errorf("line %d: %w", number, err)
		}
		whole += int64(len(line))
	}
}
