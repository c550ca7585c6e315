package egress

import (
	"bufio"
	"cmp"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// atOnce is how long a body may be to be written before the answer is looked for. A longer
// one may fill the buffers on its way, and a platform may answer it before it has read it.
const atOnce = 32 << 10

var errHeader = errors.New("egress: the answer's headers are too large")

// conn is a connection. It carries one request after another.
type conn struct {
	net.Conn // what speaks over the socket: TLS, or the socket itself
	socket   net.Conn
	raw      syscall.RawConn // the socket's
	in       *bufio.Reader
	out      *bufio.Writer
	left     int64 // how many more bytes may be read before headers are too large
	// taken are the bytes of the request that the connection took. Over TLS they are
	// plaintext of complete records: a server cannot read an incomplete one.
	taken int64
	sent  chan struct{} // closed once the request is written, or is not
	err   error         // of writing it
	rests time.Time     // since when it is idle
}

// newConn makes one of a socket, and of what speaks over it.
func newConn(socket, over net.Conn) (*conn, error) {
	raw, err := socket.(syscall.Conn).SyscallConn()
	if err != nil {
		socket.Close()
		return nil, err
	}
	c := &conn{Conn: over, socket: socket, raw: raw}
	c.in, c.out = bufio.NewReader(reader{c}), bufio.NewWriter(writer{c})
	return c, nil
}

// Close closes the socket. TLS's farewell is left out: it would wait for a platform that does
// not read.
func (c *conn) Close() error { return c.socket.Close() }

// reader and writer hide the other methods of the connection, so that every byte is counted.
type (
	reader struct{ c *conn }
	writer struct{ c *conn }
)

func (r reader) Read(p []byte) (int, error) {
	if r.c.left <= 0 {
		return 0, errHeader
	}
	n, err := r.c.Conn.Read(p[:min(int64(len(p)), r.c.left)])
	r.c.left -= int64(n)
	return n, err
}

func (w writer) Write(p []byte) (int, error) {
	n, err := w.c.Conn.Write(p)
	w.c.taken += int64(n)
	w.c.err = err // as it is: net/http wraps it
	return n, err
}

// send writes the request, and closes its body. Where it fails the connection is closed, so
// that no answer is waited for.
func (c *conn) send(r *http.Request) {
	c.taken, c.err, c.sent = 0, nil, make(chan struct{})
	write := func() {
		defer close(c.sent)
		err := r.Write(c.out)
		if err == nil {
			err = c.out.Flush()
		}
		if err != nil {
			c.err = cmp.Or(c.err, err)
			c.Close()
		}
	}
	if r.ContentLength <= atOnce {
		write()
	} else {
		go write()
	}
}

// begin waits until the answer begins, whose headers may have so many bytes.
func (c *conn) begin(most int) error {
	c.left = int64(most)
	_, err := c.in.Peek(1)
	return err
}

// receive reads status and headers of the answer. Interim ones are passed over.
func (c *conn) receive(r *http.Request) (*http.Response, error) {
	for {
		answer, err := http.ReadResponse(c.in, r)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			c.left = math.MaxInt64
			return answer, nil
		}
	}
}

// reusable tells whether the connection may carry another request, after an answer whose
// body was read to its end.
func (c *conn) reusable(r *http.Request, answer *http.Response) bool {
	if r.Close || answer.Close || answer.StatusCode < 200 || c.in.Buffered() > 0 {
		return false
	}
	select {
	case <-c.sent:
		return c.err == nil
	default: // it was answered before it was read
		return false
	}
}

// quiet tells whether nothing came while it was idle: a platform that has closed it, or that
// speaks unasked, is not given another request.
func (c *conn) quiet() bool {
	if c.Conn != c.socket && !c.nothingDecrypted() {
		return false
	}
	if c.SetDeadline(time.Time{}) != nil {
		return false
	}
	quiet := false
	err := c.raw.Read(func(fd uintptr) bool {
		quiet = nothingToRead(fd)
		return true // whatever is there, it is not waited for
	})
	return err == nil && quiet
}

// nothingDecrypted looks for what TLS has read from the socket already.
func (c *conn) nothingDecrypted() bool {
	if c.SetReadDeadline(past) != nil {
		return false
	}
	n, err := c.Conn.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// past is a deadline that ends whatever waits.
var past = time.Unix(1, 0)
