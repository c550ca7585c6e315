package broker

import (
	"context"
	"crypto/rand"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc/test/bufconn"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// insidePrefix begins the keys of sources that are received in this process. No stored
// key does.
const insidePrefix = "inside_"

// insideBuffer is what a connection from inside may hold in each direction.
const insideBuffer = 256 << 10

// door is the way in for receivers in the same process: the same service on a listener
// in memory. Their keys are made here, live as long as the process, and leave it nowhere.
type door struct {
	listener *bufconn.Listener

	mu   sync.RWMutex
	keys map[string]outbox.Credential
}

// Dial connects to the broker from inside its process. It is for client.Config.Dial; the
// key comes from [Broker.Admit].
func (b *Broker) Dial(ctx context.Context) (net.Conn, error) { return b.door.listener.DialContext(ctx) }

// Admit makes a key by which a receiver in this process sends for a source. What it sends
// may be a quarantined webhook, which nobody else may send.
func (b *Broker) Admit(tenant, source string, id int32) (key string) {
	key = insidePrefix + rand.Text()
	b.door.mu.Lock()
	defer b.door.mu.Unlock()
	if b.door.keys == nil {
		b.door.keys = make(map[string]outbox.Credential)
	}
	b.door.keys[key] = outbox.Credential{Tenant: tenant, Source: id, SourceName: source, Prefix: "inside", Inside: true}
	return key
}

// Dismiss ends a key of [Broker.Admit]. Streams that use it end within
// [Config.RecheckEvery].
func (b *Broker) Dismiss(key string) {
	b.door.mu.Lock()
	defer b.door.mu.Unlock()
	delete(b.door.keys, key)
}

// of is whom a key from inside stands for; inside tells whether it is one at all.
func (d *door) of(key string) (c outbox.Credential, inside bool, err error) {
	if !strings.HasPrefix(key, insidePrefix) {
		return c, false, nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	c, known := d.keys[key]
	if !known {
		return c, true, errBadKey
	}
	return c, true, nil
}

// quarantineOf is what the outbox keeps of it.
func quarantineOf(q *raffsyncv1.Quarantine) *outbox.Quarantine {
	return &outbox.Quarantine{
		Code: q.GetCode(), Reason: q.GetReason(), ContentType: q.GetContentType(), Headers: q.GetHeaders(), Query: q.GetQuery(),
		BodyBytes: int64(q.GetBodyBytes()), BodySHA256: q.GetBodySha256(),
	}
}
