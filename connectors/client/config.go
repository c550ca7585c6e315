package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Config says where events go and who sends them. Target (or Dial), Key and Name
// are needed; everything else has a default.
type Config struct {
	// Target is the broker's address, "host:port".
	Target string
	// Key is the source's key, made by `raffsync keys create`. It never appears in
	// an error or a log.
	Key string
	// Name and version of the program, shown to operators: "till-7 2.1.0". At most
	// 120 bytes.
	Name string

	// TLS is how the broker is verified. Left out, a target on this machine is
	// spoken to without TLS, any other with the system's certificates.
	TLS *tls.Config
	// AllowPlaintext sends the key and all events unencrypted, whatever the target.
	// For networks that are encrypted below. Not together with TLS.
	AllowPlaintext bool
	// Dial makes the connections instead of Target: for a broker in the same
	// process. It is trusted like a loopback connection.
	Dial func(context.Context) (net.Conn, error)

	// OnResult is told of each event once, when it is acknowledged, in the order of
	// sending; Flush returns after the calls for its events have. It is called
	// from one goroutine at a time, which reads no further acknowledgement
	// meanwhile: it must not call Send, Flush or Close.
	OnResult func(*raffsyncv1.Event, Result)

	// BufferEvents and BufferBytes (of encoded events) bound what is
	// unacknowledged: Send waits while either is reached. 16,384 events and 32 MiB
	// when left out; Go's own cost is about as much again.
	BufferEvents int
	BufferBytes  int

	// RetryMin and RetryMax bound the wait before another stream is opened: it
	// doubles from one to the other, half of it random. 200 ms and 15 s when left out.
	RetryMin, RetryMax time.Duration
	// ConnectTimeout is how long opening a stream may take, Welcome included. 20 s
	// when left out.
	ConnectTimeout time.Duration
	// GiveUpAfter ends Run with an error when for so long no stream got anywhere.
	// Left out, it tries until its context ends.
	GiveUpAfter time.Duration

	// Logger is told when streams open and end. slog.Default() when left out.
	Logger *slog.Logger
}

// String leaves the key out.
func (c Config) String() string {
	return fmt.Sprintf("client.Config{Target: %q, Name: %q}", c.Target, c.Name)
}

// GoString leaves the key out.
func (c Config) GoString() string { return c.String() }

// LogValue leaves the key out.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("target", c.Target), slog.String("name", c.Name))
}

func (c Config) withDefaults() (Config, error) {
	if c.Key == "" {
		return c, errors.New("client: Config.Key is empty: give the source's key, made by `raffsync keys create`")
	}
	if i := strings.IndexFunc(c.Key, func(r rune) bool { return r <= ' ' || r >= 0x7f }); i >= 0 {
		return c, fmt.Errorf("client: Config.Key holds a space, a line end or a character outside ASCII at byte %d: trim what was read from the file", i)
	}
	if c.Name == "" || len(c.Name) > maxNameBytes {
		return c, fmt.Errorf("client: Config.Name has %d bytes: give the name and version of the program, 1 to %d bytes", len(c.Name), maxNameBytes)
	}
	if c.BufferEvents < 0 || c.BufferBytes < 0 || c.RetryMin < 0 || c.RetryMax < 0 || c.ConnectTimeout < 0 || c.GiveUpAfter < 0 {
		return c, errors.New("client: a buffer or a duration of Config is negative: leave it out for its default")
	}
	c.BufferEvents = or(c.BufferEvents, 16_384)
	c.BufferBytes = or(c.BufferBytes, 32<<20)
	c.RetryMin = or(c.RetryMin, 200*time.Millisecond)
	c.RetryMax = max(or(c.RetryMax, 15*time.Second), c.RetryMin)
	c.ConnectTimeout = or(c.ConnectTimeout, 20*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

// maxNameBytes is Hello.client's limit.
const maxNameBytes = 120

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
