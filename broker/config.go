package broker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc/credentials"

	"raffsync/outbox"
)

// Config of a [Broker]. What is zero takes its default.
type Config struct {
	// Store takes the events. Required.
	Store *outbox.Store
	// Listeners to serve on; Run closes them. A TCP listener beyond loopback needs
	// Credentials.
	Listeners []net.Listener
	// Credentials for TLS; nil serves in the clear.
	Credentials credentials.TransportCredentials
	// Reflection lets anybody ask what the service looks like.
	Reflection bool
	// OnCommitted is called after each commit with the lanes that got deliveries, from
	// several goroutines. It must not block, and is only a hint: a crash between the
	// commit and the call loses it.
	OnCommitted func(lanes []int16)
	// OnHeard is called with the source of each batch, before it is looked at, from many
	// goroutines. It must not block.
	OnHeard func(source int32)
	// Full says why nothing may be taken in now, in words for whoever sends; empty where
	// it may. It is called for each batch, and must not block.
	Full func() string
	// Observe is told what happens.
	Observe Observer
	Log     *slog.Logger

	// MaxBatchEvents is the most events in a batch: 1,000; at most 8,192.
	MaxBatchEvents int
	// MaxEventBytes is the most bytes of one event's data: 512 KiB.
	MaxEventBytes int
	// WindowBatches is the most unacknowledged batches of a stream: 4.
	WindowBatches int
	// HeartbeatEvery is how often each side of a stream says something: 30 s. A client
	// that is silent three times as long loses its stream.
	HeartbeatEvery time.Duration
	// RecheckEvery is how long a revoked key may still be used: 10 s.
	RecheckEvery time.Duration
	// DrainTimeout is how long streams have to end by themselves when the broker stops
	// or their connection reaches its age: 10 s.
	DrainTimeout time.Duration
	// ConnectionAge is how old a connection gets, give or take a tenth: 30 min.
	ConnectionAge time.Duration
	// Committers is how many commits run side by side: 2.
	Committers int
	// Shard sets this process's writers apart from other replicas'; see
	// [outbox.Store.OpenWriter].
	Shard int64
	// MemoryBudget is the most bytes of batches held, until they are acknowledged:
	// 256 MiB. At least 16 MiB.
	MemoryBudget int64
	// MaxStreams is the most open streams of one tenant: 1,000.
	MaxStreams int
	// MaxConnections is the most connections of each listener: 1,000. More wait to be
	// accepted.
	MaxConnections int
}

const (
	// maxMessageBytes is the contract's limit on a message. grpc-go refuses only those
	// of more than maxReceiveBytes, in its own words and with RESOURCE_EXHAUSTED.
	maxMessageBytes = 1 << 20
	maxReceiveBytes = 4 << 20

	silentHeartbeats = 3 // after which a stream ends
	// flushTimeout is how long a stream that ends has for the acknowledgements that
	// are due; a client that does not read them waits in vain.
	flushTimeout = 5 * time.Second

	maxStreamsPerConnection = 100
	maxHeaderBytes          = 16 << 10
	keepaliveMinTime        = time.Minute
	keepaliveTime           = time.Minute
	keepaliveTimeout        = 20 * time.Second
	handshakeTimeout        = 10 * time.Second
	connectionIdle          = 15 * time.Minute
	streamFlowWindow        = 1 << 20 // fixed, so that one stream cannot make the broker buffer more
	connectionFlowWindow    = 4 << 20
)

func (c Config) withDefaults() (Config, error) {
	c.MaxBatchEvents = cmp.Or(c.MaxBatchEvents, 1000)
	c.MaxEventBytes = cmp.Or(c.MaxEventBytes, 512<<10)
	c.WindowBatches = cmp.Or(c.WindowBatches, 4)
	c.HeartbeatEvery = cmp.Or(c.HeartbeatEvery, 30*time.Second)
	c.RecheckEvery = cmp.Or(c.RecheckEvery, 10*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 10*time.Second)
	c.ConnectionAge = cmp.Or(c.ConnectionAge, 30*time.Minute)
	c.Committers = cmp.Or(c.Committers, 2)
	c.MemoryBudget = cmp.Or(c.MemoryBudget, 256<<20)
	c.MaxStreams = cmp.Or(c.MaxStreams, 1000)
	c.MaxConnections = cmp.Or(c.MaxConnections, 1000)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, c.check()
}

func (c *Config) check() error {
	var faults []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	want(c.Store != nil, "a Store is needed")
	want(len(c.Listeners) > 0, "a listener is needed")
	want(c.MaxBatchEvents > 0 && c.MaxBatchEvents <= maxCommitEvents, "events in a batch: expected 1 to %d, got %d", maxCommitEvents, c.MaxBatchEvents)
	want(c.MaxEventBytes > 0 && c.MaxEventBytes < maxMessageBytes, "bytes of an event: expected 1 to %d, got %d", maxMessageBytes-1, c.MaxEventBytes)
	want(c.WindowBatches > 0 && c.WindowBatches <= 1024, "batches in a window: expected 1 to 1024, got %d", c.WindowBatches)
	want(c.Committers > 0 && c.Committers <= 64, "committers: expected 1 to 64, got %d", c.Committers)
	want(c.MemoryBudget >= 16<<20, "memory budget: expected at least %d bytes, got %d", 16<<20, c.MemoryBudget)
	want(c.MaxStreams > 0, "streams of a tenant: expected at least 1, got %d", c.MaxStreams)
	want(c.MaxConnections > 0, "connections: expected at least 1, got %d", c.MaxConnections)
	for name, d := range map[string]time.Duration{
		"heartbeat": c.HeartbeatEvery, "recheck of keys": c.RecheckEvery,
		"drain time-out": c.DrainTimeout, "connection age": c.ConnectionAge,
	} {
		want(d > 0, "%s: expected a positive duration, got %s", name, d)
	}
	for _, l := range c.Listeners {
		tcp, ok := l.Addr().(*net.TCPAddr)
		want(!ok || tcp.IP.IsLoopback() || c.Credentials != nil,
			"%s can be reached from other machines: configure TLS, or listen on 127.0.0.1", l.Addr())
	}
	if len(faults) > 0 {
		return fmt.Errorf("broker: %w", errors.Join(faults...))
	}
	return nil
}
