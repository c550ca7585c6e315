package client

import (
	"fmt"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	// maxFrameBytes is the contract's limit of a PublishRequest and of a Batch.
	maxFrameBytes = 1 << 20
	// frameOverhead covers the tags, lengths and sequence around a frame's events.
	frameOverhead = 32
)

// Result is what became of an event.
type Result struct {
	// Status is STATUS_ACCEPTED for whatever the broker did not list.
	Status raffsyncv1.Status
	// Fix says what to do about it, in words; empty where nothing is to be done.
	Fix string
	// Violations are the rules that the event breaks, for STATUS_INVALID.
	Violations []*raffsyncv1.FieldViolation
	// Resent is true for an event that went out on an earlier stream too: a
	// STATUS_DUPLICATE may then be of its own first sending.
	Resent bool
}

// EventError says why Send refused an event. The stream and every other event go on.
type EventError struct {
	// ID of the event, as it was given.
	ID string
	// Reason says what is wrong and what to do.
	Reason string
	err    error
}

func (e *EventError) Error() string { return fmt.Sprintf("event %q: %s", e.ID, e.Reason) }

func (e *EventError) Unwrap() error { return e.err }

// scratch holds buffers for trial encodings.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Check says what [Client.Send] would say of an event: an [*EventError], or nil. A broker
// takes data of up to maxEventBytes, Welcome.max_event_bytes; 0 where that is not known.
func Check(event *raffsyncv1.Event, maxEventBytes int) error {
	_, err := encodedSize(event, maxEventBytes)
	return err
}

// encodedSize returns the bytes that the event takes in a frame. The event is
// encoded for it once and thrown away: only that finds every text that is not
// UTF-8, in fields of later versions too.
func encodedSize(event *raffsyncv1.Event, maxData int) (int, error) {
	if event == nil {
		return 0, &EventError{Reason: "there is none: Send was given nil"}
	}
	buffer := scratch.Get().(*[]byte)
	defer func() {
		if cap(*buffer) <= 2*maxFrameBytes {
			scratch.Put(buffer)
		}
	}()
	encoded, err := proto.MarshalOptions{}.MarshalAppend((*buffer)[:0], event)
	if err != nil {
		return 0, &EventError{ID: event.GetId(), err: err, Reason: fmt.Sprintf(
			"%s is not UTF-8: convert it; a payload that is no text goes into binary_data, with its content_type", invalidText(event))}
	}
	*buffer = encoded
	data := len(event.GetTextData()) + len(event.GetBinaryData())
	if maxData > 0 && data > maxData {
		return 0, &EventError{ID: event.GetId(), Reason: fmt.Sprintf(
			"its data has %d bytes and the broker takes %d: send less, split it, or raise the broker's limit", data, maxData)}
	}
	size := protowire.SizeTag(2) + protowire.SizeBytes(len(encoded))
	if size > maxFrameBytes-frameOverhead {
		return 0, &EventError{ID: event.GetId(), Reason: fmt.Sprintf(
			"it has %d bytes encoded and a frame takes %d: send less, or split it", size, maxFrameBytes-frameOverhead)}
	}
	return size, nil
}

// invalidText names the field that keeps the event from being encoded.
func invalidText(event *raffsyncv1.Event) string {
	name := "a text"
	event.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		valid := true
		switch {
		case field.IsMap():
			value.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				valid = utf8.ValidString(k.String()) && utf8.ValidString(v.String())
				return valid
			})
		case field.Kind() == protoreflect.StringKind:
			valid = utf8.ValidString(value.String())
		}
		if !valid {
			name = string(field.Name())
		}
		return valid
	})
	return name
}
