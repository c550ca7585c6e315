package torture

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What is held arrives when it is let go, unless its sender has gone; what comes later
// passes it by.
func TestCourier(t *testing.T) {
	arrived := make(chan string, 8)
	platform := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived <- r.URL.Path }))
	defer platform.Close()
	c, err := newCourier(strings.TrimPrefix(platform.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	send := func(path string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", c.address())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	wait := func(is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it does not come to that")
			}
		}
	}
	defer send("/before").Close()
	if got := <-arrived; got != "/before" {
		t.Fatalf("%s arrives", got)
	}
	d := c.stop()
	late, given := send("/late"), send("/given-up")
	defer late.Close()
	wait(func() bool { return d.held.Load() == 2 })
	c.pass()
	_ = given.Close()
	defer send("/later").Close()
	if got := <-arrived; got != "/later" {
		t.Errorf("%s arrives, and is held", got)
	}
	open := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.conns)
	}
	wait(func() bool { return open() == 6 }) // two each: the courier has seen who gave up
	close(d.over)
	if got := <-arrived; got != "/late" || d.passed.Load() != 1 {
		t.Errorf("%s arrives, %d passed", got, d.passed.Load())
	}
}
