package outbox_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"raffsync/outbox"
)

// What is not hashed could change under an id without anybody noticing.
func TestEvent_Hash(t *testing.T) {
	t.Parallel()
	event := func() outbox.Event {
		return outbox.Event{
			Tenant: "kopi", Source: 1, ID: "e1", Type: "order.created", OrderingKey: "order/1", OccurredAt: time.UnixMicro(1), Outlet: "mall",
			References: map[string]string{"order": "1", "invoice": "2"}, ContentType: "application/json", Payload: []byte("{}"),
		}
	}
	base := event()
	for name, change := range map[string]func(*outbox.Event){
		"type": func(e *outbox.Event) { e.Type = "order.paid" }, "ordering key": func(e *outbox.Event) { e.OrderingKey = "order/2" },
		"time": func(e *outbox.Event) { e.OccurredAt = time.UnixMicro(2) }, "outlet": func(e *outbox.Event) { e.Outlet = "" },
		"content type": func(e *outbox.Event) { e.ContentType = "text/plain" }, "payload": func(e *outbox.Event) { e.Payload = nil },
		"a reference": func(e *outbox.Event) { e.References["order"] = "3" }, "one reference less": func(e *outbox.Event) { delete(e.References, "order") },
		"references swapped": func(e *outbox.Event) { e.References = map[string]string{"order": "2", "invoice": "1"} },
		"a byte moved":       func(e *outbox.Event) { e.Type, e.OrderingKey = "order.createdo", "rder/1" },
	} {
		e := event()
		change(&e)
		if e.Hash() == base.Hash() {
			t.Errorf("the hash does not change with %s", name)
		}
	}
	same := event()
	same.ID, same.OccurredAt = "e2", same.OccurredAt.Add(999).In(time.FixedZone("", 7*3600)) // less than a microsecond
	if same.Hash() != base.Hash() {
		t.Error("the hash changes with the id, the zone, or less than a microsecond")
	}
}

// Hashes are stored: a changed one would make a conflict of every event that is sent again.
func TestEvent_Hash_StaysAsItWas(t *testing.T) {
	t.Parallel()
	plain := outbox.Event{Tenant: "kopi", Source: 1, ID: "e1", Type: "order.created", OrderingKey: "order/1", ContentType: "application/json"}
	full := plain
	full.OccurredAt, full.Outlet, full.Payload = time.UnixMicro(1795428000123456), "mall", []byte(`{"total":100}`)
	full.References = map[string]string{"order": "1042", "invoice": "INV-é", "basket": ""}
	long := full
	long.OrderingKey, long.References = strings.Repeat("k", 200), map[string]string{}
	for c := 'a'; c < 'q'; c++ {
		long.References[strings.Repeat(string(c), 60)] = strings.Repeat("v", 200)
	}
	long.Payload = bytes.Repeat([]byte("x"), 100_000)
	for _, test := range []struct {
		name  string
		event outbox.Event
		want  string
	}{
		{"plain", plain, "bf67c818b9353a63635606d7dee22a33d3d8a6ad6677e1515f3cbf24eeb5f14c"},
		{"full", full, "1cd91899b15d07f0bc58bda529a948f2039f4ac908331ae0a8eb97d654d809bc"},
		{"long", long, "086065fa086a65b4b5262a94e0e384940ffd369660b5baa14f669a0522543574"},
	} {
		if got := fmt.Sprintf("%x", test.event.Hash()); got != test.want {
			t.Errorf("the hash of the %s event has become %s", test.name, got)
		}
	}
}

func BenchmarkEvent_Hash(b *testing.B) {
	e := outbox.Event{
		Type: "order.created", OrderingKey: "order/1042", OccurredAt: time.UnixMicro(1), ContentType: "application/json",
		Payload: bytes.Repeat([]byte("x"), 701),
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Hash()
	}
}

func TestLaneOf(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1024).Draw(t, "lanes")
		lane := outbox.LaneOf(outbox.KeyHash(rapid.String().Draw(t, "tenant"), rapid.String().Draw(t, "key")), n)
		if lane < 0 || int(lane) >= n {
			t.Fatalf("lane %d of %d", lane, n)
		}
	})
	// Fixed for the life of a database.
	if h := outbox.KeyHash("kopi", "order/1042"); h != keyHashOf1042 {
		t.Errorf("the hash of a key has changed: %d", h)
	}
	if outbox.KeyHash("a", "bc") == outbox.KeyHash("ab", "c") {
		t.Error("a tenant's name runs into the key")
	}
}

const keyHashOf1042 = -9039098321204697703
