package broker

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestDecoder_InvalidText(t *testing.T) {
	encoded, err := proto.Marshal(&raffsyncv1.Event{Id: "AAAA", Outlet: "BBBB", References: map[string]string{"CCCC": "DDDD"}})
	if err != nil {
		t.Fatal(err)
	}
	for was, field := range map[string]string{"AAAA": "id", "BBBB": "outlet", "CCCC": "references", "DDDD": "references"} {
		broken := bytes.ReplaceAll(encoded, []byte(was), []byte("ca\xe9!"))
		found := new(decoder).decode(broken)
		if len(found) != 1 || found[0].Field != field || found[0].Message != "must be UTF-8" {
			t.Errorf("%s: %v", was, found)
		}
	}
	if found := new(decoder).decode(encoded[:len(encoded)-3]); len(found) != 1 {
		t.Errorf("cut short: %v", found)
	}
}

// strangeEvents are encodings of events that no generated code writes but protobuf takes:
// fields twice and in any order, unknown ones, of a wrong kind, incomplete entries of a
// map; and some that it does not take.
func strangeEvents() *rapid.Generator[[]byte] {
	type field = func(t *rapid.T, encoded []byte, number protowire.Number) []byte
	varint := func(t *rapid.T, encoded []byte, number protowire.Number) []byte {
		return protowire.AppendVarint(protowire.AppendTag(encoded, number, protowire.VarintType), rapid.Uint64().Draw(t, "integer"))
	}
	fixed := func(_ *rapid.T, encoded []byte, number protowire.Number) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(encoded, number, protowire.Fixed64Type), 7)
	}
	texts := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "b", "é", "ca\xe9!"}), rapid.String())
	text := func(t *rapid.T, encoded []byte, number protowire.Number) []byte {
		return protowire.AppendString(protowire.AppendTag(encoded, number, protowire.BytesType), texts.Draw(t, "text"))
	}
	// message draws from the numbers; of eight fields, seven are as they should be.
	message := func(t *rapid.T, most int, numbers []protowire.Number, sound func(protowire.Number) field) (encoded []byte) {
		for range rapid.IntRange(0, most).Draw(t, "fields") {
			number := rapid.SampledFrom(numbers).Draw(t, "number")
			add := sound(number)
			if rapid.IntRange(0, 7).Draw(t, "odd") == 7 {
				add = rapid.SampledFrom([]field{varint, fixed, text}).Draw(t, "kind")
			}
			encoded = add(t, encoded, number)
		}
		return encoded
	}
	inner := func(fields field) field {
		return func(t *rapid.T, encoded []byte, number protowire.Number) []byte {
			m := message(t, 3, []protowire.Number{1, 1, 1, 1, 2, 2, 2, 2, 3}, func(protowire.Number) field { return fields })
			return protowire.AppendBytes(protowire.AppendTag(encoded, number, protowire.BytesType), m)
		}
	}
	return rapid.Custom(func(t *rapid.T) []byte {
		encoded := message(t, 8, []protowire.Number{1, 2, 3, 4, 4, 5, 6, 6, 6, 7, 8, 8, 9, 9, 10, 1000}, func(number protowire.Number) field {
			switch number {
			case occurredAtField:
				return inner(varint)
			case referencesField:
				return inner(text)
			default:
				return text
			}
		})
		return encoded[:len(encoded)-min(len(encoded), rapid.SampledFrom([]int{0, 0, 0, 0, 0, 1, 5}).Draw(t, "cut"))]
	})
}

// plainEvents are events of one place, encoded, their texts of whatever there is.
func plainEvents() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		e := &raffsyncv1.Event{
			Id: rapid.String().Draw(t, "id"), Type: rapid.String().Draw(t, "type"), OrderingKey: rapid.String().Draw(t, "key"),
			Outlet: rapid.String().Draw(t, "outlet"), ContentType: rapid.String().Draw(t, "content type"),
			References: rapid.MapOfN(rapid.String(), rapid.String(), 0, maxReferences+1).Draw(t, "references"),
		}
		if rapid.Bool().Draw(t, "timed") {
			e.OccurredAt = &timestamppb.Timestamp{Seconds: rapid.Int64().Draw(t, "seconds"), Nanos: rapid.Int32().Draw(t, "nanos")}
		}
		switch rapid.IntRange(0, 2).Draw(t, "data") {
		case 0:
			e.Data = text(rapid.String().Draw(t, "text"))
		case 1:
			e.Data = &raffsyncv1.Event_BinaryData{BinaryData: rapid.SliceOf(rapid.Byte()).Draw(t, "binary")}
		}
		encoded, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	})
}

// holdAgainstProtobuf fails where a decoder sees another event than protobuf does, or does
// not take what protobuf takes. It tells whether the event was decoded by hand.
func holdAgainstProtobuf(t interface{ Fatalf(string, ...any) }, d *decoder, encoded []byte) (byHand bool) {
	var want raffsyncv1.Event
	err := proto.Unmarshal(encoded, &want)
	frame := bytes.Clone(encoded)
	found := d.decode(frame)
	for i := range frame { // its memory is another frame's soon
		frame[i] ^= 0xff
	}
	if (found == nil) != (err == nil) {
		t.Fatalf("%x: violations %v, where protobuf says: %v", encoded, found, err)
	}
	if err == nil && (!proto.Equal(&d.event, &want) || (payload(&d.event) == nil) != (payload(&want) == nil)) {
		t.Fatalf("%x: decoded as %v, want %v", encoded, &d.event, &want)
	}
	return new(decoder).byHand(encoded)
}

// Whatever is decoded by hand is what protobuf makes of it, and an ordinary event is
// decoded by hand.
func TestDecoder_IsProtobuf(t *testing.T) {
	ordinary := sound()
	ordinary.ContentType = "application/json"
	for _, data := range []*raffsyncv1.Event_BinaryData{binary("{}"), nil} {
		if data != nil {
			ordinary.Data = data
		}
		if !holdAgainstProtobuf(t, new(decoder), encode(t, ordinary)) {
			t.Errorf("protobuf decoded %v", ordinary)
		}
	}
	for _, twice := range [][2]*raffsyncv1.Event{
		{{Id: "a"}, {Id: "b"}},
		{{OccurredAt: &timestamppb.Timestamp{Seconds: 1}}, {OccurredAt: &timestamppb.Timestamp{Nanos: 2}}},
		{{References: map[string]string{"order": "1"}}, {References: map[string]string{"order": "2"}}},
		{{Data: binary("1")}, {Data: text("2")}},
		{{Data: text("2")}, {Data: binary("1")}},
	} {
		holdAgainstProtobuf(t, new(decoder), slices.Concat(encode(t, twice[0]), encode(t, twice[1])))
	}
	byHand, byProtobuf := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var d decoder // over what was there before
		for _, encoded := range rapid.SliceOfN(rapid.OneOf(strangeEvents(), plainEvents()), 1, 20).Draw(t, "events") {
			if holdAgainstProtobuf(t, &d, encoded) {
				byHand++
			} else {
				byProtobuf++
			}
		}
	})
	if byHand == 0 || byProtobuf == 0 {
		t.Errorf("%d events were decoded by hand, %d by protobuf", byHand, byProtobuf)
	}
}

// What is kept of an event stays as it is when the next one is decoded.
func TestDecoder_KeepsNothingOfTheEventBefore(t *testing.T) {
	first, second := sound(), sound()
	first.Data = binary(`{"total":1}`)
	second.Id, second.References, second.Data = "o-1043", map[string]string{"order": "1043"}, binary(`{"total":2}`)
	var d decoder
	d.decode(encode(t, first))
	id, references, data := d.event.Id, d.event.References, payload(&d.event)
	d.decode(encode(t, second))
	if id != first.Id || references["order"] != "1042" || len(references) != 2 || string(data) != `{"total":1}` {
		t.Errorf("the first event became %q, %v, %s", id, references, data)
	}
	if !proto.Equal(&d.event, second) {
		t.Errorf("the second is %v, want %v", &d.event, second)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add(encode(f, sound()))
	for seed := range 50 {
		f.Add(strangeEvents().Example(seed))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) { holdAgainstProtobuf(t, new(decoder), slices.Clip(encoded)) })
}

func BenchmarkDecoder(b *testing.B) {
	e := sound()
	e.References = nil
	e.Data = &raffsyncv1.Event_BinaryData{BinaryData: bytes.Repeat([]byte("x"), 701)}
	plain := encode(b, e)
	referring := encode(b, sound())
	for _, test := range []struct {
		name    string
		encoded []byte
	}{{"Plain", plain}, {"References", referring}} {
		b.Run(test.name+"/ByHand", func(b *testing.B) {
			b.ReportAllocs()
			var d decoder
			for b.Loop() {
				if !d.byHand(test.encoded) {
					b.Fatal("not decoded")
				}
			}
		})
		b.Run(test.name+"/Protobuf", func(b *testing.B) {
			b.ReportAllocs()
			var e raffsyncv1.Event
			for b.Loop() {
				if err := proto.Unmarshal(test.encoded, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
