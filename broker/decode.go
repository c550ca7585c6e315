package broker

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// decoder decodes events, each over the one before: only what is kept of an event, which
// is its texts, references and data, has memory of its own. Nothing of it lies in the
// encoded bytes.
type decoder struct {
	event raffsyncv1.Event

	// What the event points to, where it was decoded by hand.
	occurredAt timestamppb.Timestamp
	binary     raffsyncv1.Event_BinaryData
	text       raffsyncv1.Event_TextData

	texts      []byte      // of the event, one behind the other
	references [][2][]byte // of the event, encoded
}

// decode decodes one event. What is wrong with it comes as violations of its own: its
// neighbours in the batch may be sound.
func (d *decoder) decode(encoded []byte) []*raffsyncv1.FieldViolation {
	if d.byHand(encoded) || proto.Unmarshal(encoded, &d.event) == nil {
		return nil
	}
	return undecodable(encoded, d.event.ProtoReflect().Descriptor())
}

// Fields of an Event that are decoded by hand.
const (
	idField          protowire.Number = 1
	typeField        protowire.Number = 2
	orderingKeyField protowire.Number = 3
	occurredAtField  protowire.Number = 4
	outletField      protowire.Number = 5
	referencesField  protowire.Number = 6
	contentTypeField protowire.Number = 7
	binaryDataField  protowire.Number = 8
	textDataField    protowire.Number = 9
)

// errUnusual ends decoding by hand.
var errUnusual = errors.New("for protobuf to decode")

// byHand decodes what nearly every event is: each field once, and none that is unknown,
// malformed or of a quarantine. It takes two thirds of what protobuf does, and half where
// there are references. Of anything else it makes nothing of use and returns false: what
// that means is protobuf's to say. A test holds it against protobuf.
func (d *decoder) byHand(encoded []byte) bool {
	e := &d.event
	e.Reset()
	d.references = d.references[:0]
	var values [textDataField + 1][]byte // by field; nil is not there
	err := fields(encoded, func(number protowire.Number, kind protowire.Type, value []byte, _ uint64) error {
		if number > textDataField || kind != protowire.BytesType || values[number] != nil {
			return errUnusual
		}
		switch number {
		case occurredAtField, binaryDataField:
			values[number] = value
		case referencesField:
			return d.reference(value)
		default:
			if !utf8.Valid(value) {
				return errUnusual
			}
			values[number] = value
		}
		return nil
	})
	binary, text := values[binaryDataField], values[textDataField]
	if err != nil || binary != nil && text != nil {
		return false
	}
	if at := values[occurredAtField]; at != nil {
		if !d.time(at) {
			return false
		}
		e.OccurredAt = &d.occurredAt
	}
	d.keep(&values)
	switch {
	case binary != nil:
		d.binary.BinaryData = bytes.Clone(binary)
		e.Data = &d.binary
	case text != nil:
		d.text.TextData = string(text)
		e.Data = &d.text
	}
	return true
}

// reference takes up an entry of the references.
func (d *decoder) reference(encoded []byte) error {
	var pair [2][]byte // name and value
	err := fields(encoded, func(number protowire.Number, kind protowire.Type, value []byte, _ uint64) error {
		if number > 2 || kind != protowire.BytesType || !utf8.Valid(value) {
			return errUnusual
		}
		pair[number-1] = value
		return nil
	})
	if err != nil || len(d.references) == maxReferences {
		return errUnusual
	}
	d.references = append(d.references, pair)
	return nil
}

func (d *decoder) time(encoded []byte) bool {
	d.occurredAt.Seconds, d.occurredAt.Nanos = 0, 0
	return nil == fields(encoded, func(number protowire.Number, kind protowire.Type, _ []byte, integer uint64) error {
		switch {
		case kind != protowire.VarintType:
			return errUnusual
		case number == 1:
			d.occurredAt.Seconds = int64(integer)
		case number == 2:
			d.occurredAt.Nanos = int32(integer)
		default:
			return errUnusual
		}
		return nil
	})
}

// keep gives the event its texts. They share one allocation.
func (d *decoder) keep(values *[textDataField + 1][]byte) {
	d.texts = d.texts[:0]
	for _, field := range [...]protowire.Number{idField, typeField, orderingKeyField, outletField, contentTypeField} {
		d.texts = append(d.texts, values[field]...)
	}
	for _, pair := range d.references {
		d.texts = append(append(d.texts, pair[0]...), pair[1]...)
	}
	rest := string(d.texts)
	next := func(value []byte) string {
		text := rest[:len(value)]
		rest = rest[len(value):]
		return text
	}
	e := &d.event
	e.Id, e.Type, e.OrderingKey = next(values[idField]), next(values[typeField]), next(values[orderingKeyField])
	e.Outlet, e.ContentType = next(values[outletField]), next(values[contentTypeField])
	if len(d.references) > 0 {
		e.References = make(map[string]string, len(d.references))
	}
	for _, pair := range d.references {
		name := next(pair[0])
		e.References[name] = next(pair[1])
	}
}

// undecodable says why an event cannot be decoded.
func undecodable(encoded []byte, event protoreflect.MessageDescriptor) []*raffsyncv1.FieldViolation {
	var found []*raffsyncv1.FieldViolation
	check := func(field string, text []byte) {
		if !utf8.Valid(text) && len(found) < maxViolations {
			found = append(found, violation(field, "must be UTF-8"))
		}
	}
	// An error here only ends the search.
	_ = fields(encoded, func(number protowire.Number, _ protowire.Type, value []byte, _ uint64) error {
		field := event.Fields().ByNumber(number)
		switch {
		case field == nil:
		case field.IsMap():
			return fields(value, func(_ protowire.Number, _ protowire.Type, text []byte, _ uint64) error {
				check(string(field.Name()), text)
				return nil
			})
		case field.Kind() == protoreflect.StringKind:
			check(string(field.Name()), value)
		}
		return nil
	})
	if len(found) == 0 {
		found = append(found, violation("", "is not the protobuf encoding of an Event"))
	}
	return found
}

// payload is the data of an event; nil where it has none.
func payload(e *raffsyncv1.Event) []byte {
	if d, ok := e.GetData().(*raffsyncv1.Event_TextData); ok {
		return []byte(d.TextData)
	}
	return e.GetBinaryData()
}
