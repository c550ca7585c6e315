package broker

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is wrapped
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// rawMessage is a message as it came, not decoded. The broker takes its requests so,
// because grpc-go answers a message that does not decode by itself, with INTERNAL,
// for the fault of one event in it; and because it can refuse a batch before it
// spends memory on its events.
type rawMessage struct{ buffer mem.Buffer }

func (m *rawMessage) bytes() []byte { return m.buffer.ReadOnlyData() }

// free gives the memory back; what bytes returned may not be used after it.
func (m *rawMessage) free() {
	if m.buffer != nil {
		m.buffer.Free()
		m.buffer = nil
	}
}

// rawCodec is the protobuf codec, but for a [rawMessage].
type rawCodec struct{ encoding.CodecV2 }

func newRawCodec() rawCodec { return rawCodec{encoding.GetCodecV2("proto")} }

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if raw, ok := v.(*rawMessage); ok {
		raw.buffer = data.MaterializeToBuffer(&messages)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// messages is the memory of messages that came in several pieces.
var messages messagePool

// messagePool keeps buffers for any message. gRPC's own pools clear a buffer whenever they
// hand it out, all of its megabyte where a message has more than 32 KiB; here it is written
// over at once.
type messagePool struct{ free sync.Pool }

// Get and Put make it a [mem.BufferPool].

func (p *messagePool) Get(length int) *[]byte {
	if b, _ := p.free.Get().(*[]byte); b != nil && cap(*b) >= length {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, max(length, maxMessageBytes))
	return &b
}

func (p *messagePool) Put(b *[]byte) {
	if cap(*b) == maxMessageBytes { // a longer one is refused anyway
		p.free.Put(b)
	}
}

// frame is one PublishRequest, its events not decoded.
type frame struct {
	kind  protowire.Number // of the frame in the oneof
	hello []byte
	batch rawBatch
}

const (
	helloFrame     protowire.Number = 1
	batchFrame     protowire.Number = 2
	heartbeatFrame protowire.Number = 3
)

// rawBatch is a batch of encoded events, slices of the message that they came in.
type rawBatch struct {
	sequence uint64
	events   [][]byte
	size     int // of the message, encoded
}

// parseFrame reads a PublishRequest.
func parseFrame(message []byte, maxEvents int) (frame, error) {
	var f frame
	err := fields(message, func(number protowire.Number, kind protowire.Type, value []byte, _ uint64) error {
		if number < helloFrame || number > heartbeatFrame || kind != protowire.BytesType {
			return nil // of a later version
		}
		if f.kind != 0 {
			return badFrame("frame", "a message holds one frame, this has several")
		}
		f.kind = number
		switch number {
		case helloFrame:
			f.hello = value
		case batchFrame:
			return f.batch.parse(value, 1, 2, maxEvents)
		}
		return nil
	})
	f.batch.size = len(message)
	return f, err
}

// parseBatchRequest reads a PublishBatchRequest.
func parseBatchRequest(message []byte, maxEvents int) (rawBatch, error) {
	b := rawBatch{size: len(message)}
	if err := b.parse(message, 0, 1, maxEvents); err != nil {
		return rawBatch{}, err
	}
	if len(b.events) == 0 {
		return rawBatch{}, badFrame("events", "must hold at least one event")
	}
	return b, nil
}

func (b *rawBatch) parse(message []byte, sequenceField, eventsField protowire.Number, maxEvents int) error {
	return fields(message, func(number protowire.Number, kind protowire.Type, value []byte, integer uint64) error {
		switch {
		case number == sequenceField && kind == protowire.VarintType:
			b.sequence = integer
		case number == eventsField && kind == protowire.BytesType:
			if len(b.events) == maxEvents {
				return badFrame("events", fmt.Sprintf("a batch holds at most %d events (Welcome.max_batch_events); send smaller batches", maxEvents))
			}
			b.events = append(b.events, value)
		}
		return nil
	})
}

// fields calls f for each field of an encoded message, in order, with its bytes, or
// its integer where it is a varint. Fields of other kinds come with neither.
func fields(message []byte, f func(protowire.Number, protowire.Type, []byte, uint64) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errMalformed
		}
		message = message[n:]
		var value []byte
		var integer uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			integer, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return errMalformed
		}
		message = message[n:]
		if err := f(number, kind, value, integer); err != nil {
			return err
		}
	}
	return nil
}

var errMalformed = badFrame("frame", "the message is not the protobuf encoding of its type; is the client built from raffsync/v1/ingest.proto?")
