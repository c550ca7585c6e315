package torture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// backend plays a Postgres that commits with each Sync.
type backend struct {
	conns   chan net.Conn
	commits chan struct{}
}

func newBackend() *backend {
	return &backend{conns: make(chan net.Conn, 8), commits: make(chan struct{}, 8)}
}

// dial is the proxy's way to it.
func (b *backend) dial() (net.Conn, error) {
	near, far := net.Pipe()
	go b.serve(far)
	return near, nil
}

func (b *backend) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	head := make([]byte, 4)
	if _, err := io.ReadFull(in, head); err != nil {
		return
	}
	if _, err := in.Discard(int(binary.BigEndian.Uint32(head)) - 4); err != nil {
		return
	}
	if _, err := conn.Write(message(messageReady, "I")); err != nil {
		return
	}
	for {
		m, err := readMessage(in)
		if err != nil {
			return
		}
		if m[0] == messageSync {
			b.commits <- struct{}{}
			if _, err := conn.Write(message('C', "INSERT 0 1")); err != nil {
				return
			}
			if _, err := conn.Write(message(messageReady, "I")); err != nil {
				return
			}
		}
	}
}

func message(kind byte, body string) []byte {
	m := append([]byte{kind}, binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))...)
	return append(m, body...)
}

func startup(application string) []byte {
	body := binary.BigEndian.AppendUint32(nil, startupVersion)
	body = append(body, "user\x00raffsync\x00application_name\x00"+application+"\x00\x00"...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...)
}

// proxied is a backend behind a proxy, until the test is over.
func proxied(t *testing.T) (*proxy, *backend) {
	t.Helper()
	b := newBackend()
	p, err := newProxy(b.dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close() })
	return p, b
}

// session begins one through the proxy.
func session(t *testing.T, p *proxy, application string) (conn net.Conn, in *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(startup(application)); err != nil {
		t.Fatal(err)
	}
	in = bufio.NewReader(conn)
	if _, err := readMessage(in); err != nil {
		t.Fatalf("no session: %v", err)
	}
	return conn, in
}

func TestProxy(t *testing.T) {
	transaction := append(append(message('B', ""), message(messageExecute, "")...), message(messageSync, "")...)
	for name, c := range map[string]struct {
		application string
		fault       fault
		committed   bool
		answered    bool
	}{
		"nothing":                  {"raffsync ingest", noFault, true, true},
		"COMMIT lost":              {"raffsync ingest", loseRequest, false, false},
		"answer lost":              {"raffsync ingest", loseAnswer, true, false},
		"a trap for another":       {"raffsync hints", loseRequest, true, true},
		"half a message, for a ms": {"raffsync ingest", stallMessage, true, true},
		"half a COPY, for a ms":    {"raffsync ingest", stallCopy, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, b := proxied(t)
			if c.fault != noFault {
				t := (&nemesis{}).newTrap("raffsync ingest", c.fault)
				t.stall = time.Millisecond
				p.arm(t)
			}
			conn, in := session(t, p, c.application)
			long := message('P', string(make([]byte, 300)))
			if _, err := conn.Write(append(long, transaction...)); err != nil {
				t.Fatal(err)
			}
			answered := false
			for {
				m, err := readMessage(in)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("the session neither is answered nor ends")
				}
				if err != nil {
					break
				}
				if answered = bytes.HasPrefix(m, []byte{messageReady}); answered {
					break
				}
			}
			if answered != c.answered {
				t.Errorf("answered: %t", answered)
			}
			committed := len(b.commits) > 0
			if committed != c.committed {
				t.Errorf("committed: %t", committed)
			}
		})
	}
}

// A Sync that commits nothing springs no trap.
func TestProxy_WaitsForACommit(t *testing.T) {
	p, _ := proxied(t)
	set := (&nemesis{}).newTrap("raffsync", loseRequest)
	p.arm(set)
	conn, in := session(t, p, "raffsync ingest")
	if _, err := conn.Write(append(message('P', ""), message(messageSync, "")...)); err != nil {
		t.Fatal(err)
	}
	if _, err := readMessage(in); err != nil {
		t.Fatalf("the answer to a Parse was lost: %v", err)
	}
	select {
	case <-set.sprung:
		t.Error("the trap sprang at a Parse")
	default:
	}
}

// Who is barred loses the session that it has, and gets no other; nobody else does.
func TestProxy_Bars(t *testing.T) {
	p, _ := proxied(t)
	_, before := session(t, p, hintSession)
	other, in := session(t, p, ingestSession)
	p.bar(hintSession)
	if _, err := readMessage(before); err == nil {
		t.Error("the session goes on")
	}
	conn, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(startup(hintSession)); err != nil {
		t.Fatal(err)
	}
	if _, err := readMessage(bufio.NewReader(conn)); err == nil {
		t.Error("it gets another")
	}
	if _, err := other.Write(message(messageSync, "")); err != nil {
		t.Fatal(err)
	}
	if _, err := readMessage(in); err != nil {
		t.Errorf("another's session: %v", err)
	}
}
