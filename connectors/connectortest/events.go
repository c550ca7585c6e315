package connectortest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"raffsync/connectors"
)

// Canary is in the data of every event: where it shows, a payload has leaked.
const Canary = "payload-canary-5f1c"

const canary = Canary

// Plain tells whether an event is the suite's plain one, which every destination has to
// take: JSON, with what a [Harness.Step] adds.
func Plain(e *connectors.Event) bool {
	return e.ContentType == "application/json" && bytes.HasPrefix(e.Data, []byte(`{"number": `))
}

// newStep is a step of the destination that no other has the key of.
func (s *suite) newStep(d connectors.Destination, change ...func(*connectors.Event)) connectors.Step {
	step := newStep(change...)
	s.complete(d, &step)
	return step
}

func (s *suite) complete(d connectors.Destination, step *connectors.Step) {
	if s.Step != nil {
		s.Step(d, step)
	}
}

var stepCount atomic.Int64

// newStep is a step that no other has the key of.
func newStep(change ...func(*connectors.Event)) connectors.Step {
	n := stepCount.Add(1)
	event := &connectors.Event{
		Tenant:      "kopi",
		Source:      "till-7",
		ID:          fmt.Sprintf("order/%d/created", n),
		Type:        "order.created",
		OrderingKey: fmt.Sprintf("order/%d", n),
		OccurredAt:  time.Date(2026, 11, 23, 10, 41, 10, 123456000, time.UTC),
		AcceptedAt:  time.Date(2026, 11, 23, 10, 41, 11, 0, time.UTC),
		Outlet:      "mall",
		References:  map[string]string{"order": fmt.Sprint(n)},
		ContentType: "application/json",
		Data:        fmt.Appendf(nil, `{"number": %d, "note": %q, "lines": [{"sku": "LATTE", "quantity": 2}]}`, n, canary),
	}
	for _, c := range change {
		c(event)
	}
	key := sha256.Sum256(fmt.Append(nil, n, event.ID))
	return connectors.Step{
		Event: event, Destination: "conformance", Effect: event.ID, Attempt: 1,
		Key: hex.EncodeToString(key[:]),
	}
}

// maxData is the most data of an event (DESIGN.md, "Defaults").
const maxData = 512 << 10

// payloads are events that connectors stumble over.
var payloads = []struct {
	name   string
	change func(*connectors.Event)
}{
	{"JSON", func(*connectors.Event) {}},
	{"Unicode", func(e *connectors.Event) {
		e.ID, e.OrderingKey, e.Outlet = `注文/☕ "1" 100%`, "café crème/𝄞", "ตลาด"
		e.References = map[string]string{"ordre n°": "é"}
		e.Data = []byte(`{"note": "☕ 𝄞 ` + "\u202e" + canary + `"}`)
	}},
	{"Control characters", func(e *connectors.Event) {
		// The broker lets none through; a connector must not rely on it.
		e.ID, e.OrderingKey = "a\r\nX-Injected: 1", "b\x00\x7f"
	}},
	{"Empty", func(e *connectors.Event) { e.Data, e.ContentType = nil, "" }},
	{"Empty JSON text", func(e *connectors.Event) { e.Data = []byte{} }},
	{"Binary", func(e *connectors.Event) {
		e.ContentType = "application/octet-stream"
		e.Data = append([]byte(canary), 0x00, 0xff, 0xfe, '\r', '\n', 0x1b)
	}},
	{"Other charset", func(e *connectors.Event) {
		e.ContentType = `text/csv; charset="iso-8859-1"`
		e.Data = []byte(canary + ";caf\xe9")
	}},
	{"Largest", func(e *connectors.Event) {
		e.Data = []byte(`"` + canary + strings.Repeat("x", maxData-len(canary)-2) + `"`)
	}},
	{"No times, no outlet", func(e *connectors.Event) {
		e.OccurredAt, e.AcceptedAt, e.Outlet, e.References = time.Time{}, time.Time{}, "", nil
	}},
}

func cloneEvent(e *connectors.Event) *connectors.Event {
	clone := *e
	clone.References = maps.Clone(e.References)
	clone.Data = bytes.Clone(e.Data)
	return &clone
}

func sameEvent(a, b *connectors.Event) bool {
	return a.Tenant == b.Tenant && a.Source == b.Source && a.ID == b.ID && a.Type == b.Type &&
		a.OrderingKey == b.OrderingKey && a.OccurredAt.Equal(b.OccurredAt) && a.AcceptedAt.Equal(b.AcceptedAt) &&
		a.Outlet == b.Outlet && a.ContentType == b.ContentType &&
		maps.Equal(a.References, b.References) && slices.Equal(a.Data, b.Data)
}
