package torture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection through a proxy. It understands enough of the protocol
// (version 3, https://www.postgresql.org/docs/current/protocol-message-formats.html) to
// know where messages end, whose session it is, and where a transaction commits.
type link struct {
	proxy          *proxy
	client, server net.Conn
	application    string // written under the proxy's mutex, by the goroutine that reads it without

	swallow atomic.Bool  // the answer to the last Sync reaches nobody
	asked   atomic.Int64 // what Postgres has not answered yet
	once    sync.Once
	gone    chan struct{}
}

// Messages of the frontend and of the backend that matter here.
const (
	messageExecute  = 'E'
	messageCopyData = 'd'
	messageParse    = 'P'
	messageBind     = 'B'
	messageQuery    = 'Q'
	messageSync     = 'S'
	messageReady    = 'Z' // ReadyForQuery, by the backend

	startupVersion = 3 << 16
	maxMessage     = 1 << 28
)

var (
	errMessage = errors.New("not a message of the protocol")
	errBarred  = errors.New("this application gets no session")
)

// cut ends both sides at once.
func (l *link) cut() {
	l.once.Do(func() {
		close(l.gone)
		reset(l.client)
		_ = l.server.Close()
	})
}

func (l *link) run() {
	var both sync.WaitGroup
	for _, half := range []func() error{l.forward, l.backward} {
		both.Go(func() {
			_ = half() // either side's end is the other's
			l.cut()
		})
	}
	both.Wait()
}

// forward passes on what the replica says.
func (l *link) forward() error {
	in := bufio.NewReaderSize(l.client, 64<<10)
	protocol, err := l.startup(in)
	if err != nil {
		return err
	}
	if !protocol { // a request to cancel: nothing follows
		<-l.gone
		return nil
	}
	executed := false // since the last Sync
	for {
		message, err := readMessage(in)
		if err != nil {
			return err
		}
		l.proxy.pass(l)
		kind := message[0]
		if kind == messageSync || kind == messageQuery {
			l.asked.Add(1)
		}
		commits := kind == messageSync && executed ||
			kind == messageQuery && bytes.HasPrefix(bytes.ToLower(message[5:]), []byte("commit"))
		if commits {
			executed = false
			if t := l.proxy.spring(l.application, loseRequest, loseAnswer); t != nil {
				if t.fault == loseRequest {
					return nil
				}
				l.swallow.Store(true)
			}
		} else if kind == messageExecute {
			executed = true
		}
		if f := stalls(message); f != noFault {
			if t := l.proxy.spring(l.application, f); t != nil {
				if err := l.stall(&message, t.stall); err != nil {
					return err
				}
			}
		}
		if _, err := l.server.Write(message); err != nil {
			return err
		}
	}
}

// aboutLeases is in each statement that asks or says whose lease is over.
var aboutLeases = []byte("lease_until")

// aboutMappings is in what raises an exception that a mapping resolves.
var aboutMappings = []byte(skuUnmapped)

// stalls is the fault by which a message would be stalled.
func stalls(message []byte) fault {
	switch {
	case message[0] == messageCopyData:
		return stallCopy
	case message[0] == messageParse && bytes.Contains(message, aboutLeases):
		return stallLease
	case message[0] == messageBind && bytes.Contains(message, aboutMappings):
		return stallHold
	case len(message) > 256:
		return stallMessage
	}
	return noFault
}

// stall sends half of the message, and leaves the other half for later.
func (l *link) stall(message *[]byte, d time.Duration) error {
	half := len(*message) / 2
	if _, err := l.server.Write((*message)[:half]); err != nil {
		return err
	}
	*message = (*message)[half:]
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.gone:
	}
	return nil
}

// startup passes on the first message, which has no type, and learns the name of the
// application. It is false for a request to cancel.
func (l *link) startup(in *bufio.Reader) (protocol bool, err error) {
	head, err := in.Peek(8)
	if err != nil {
		return false, err
	}
	length := binary.BigEndian.Uint32(head)
	if length < 8 || length > 1<<16 {
		return false, errMessage
	}
	message := make([]byte, length)
	if _, err := io.ReadFull(in, message); err != nil {
		return false, err
	}
	protocol = binary.BigEndian.Uint32(message[4:]) == startupVersion
	if protocol {
		parameters := bytes.Split(message[8:], []byte{0})
		for i := 0; i+1 < len(parameters); i += 2 {
			if string(parameters[i]) == "application_name" {
				if err := l.proxy.begins(l, string(parameters[i+1])); err != nil {
					return false, err
				}
			}
		}
	}
	_, err = l.server.Write(message)
	return protocol, err
}

// backward passes on what Postgres says, until an answer is to be lost.
func (l *link) backward() error {
	in := bufio.NewReaderSize(l.server, 64<<10)
	for {
		message, err := readMessage(in)
		if err != nil {
			return err
		}
		l.proxy.pass(l)
		if message[0] == messageReady {
			l.asked.Add(-1)
		}
		if l.swallow.Load() {
			if message[0] == messageReady && l.asked.Load() == 0 {
				return nil // all that was sent is answered: it is committed
			}
			continue
		}
		if _, err := l.client.Write(message); err != nil {
			return err
		}
	}
}

func readMessage(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(5)
	if err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < 4 || length > maxMessage {
		return nil, errMessage
	}
	message := make([]byte, 1+length)
	_, err = io.ReadFull(in, message)
	return message, err
}
