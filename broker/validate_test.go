package broker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func sound() *raffsyncv1.Event {
	return &raffsyncv1.Event{
		Id: "o-1042/created", Type: "order.created", OrderingKey: "order/1042", Outlet: "mall",
		OccurredAt: &timestamppb.Timestamp{Seconds: 1795428000, Nanos: 123456789},
		References: map[string]string{"order": "1042", "café": "ü"},
		Data:       &raffsyncv1.Event_TextData{TextData: `{"total":100}`},
	}
}

func binary(data string) *raffsyncv1.Event_BinaryData {
	return &raffsyncv1.Event_BinaryData{BinaryData: []byte(data)}
}

func text(data string) *raffsyncv1.Event_TextData {
	return &raffsyncv1.Event_TextData{TextData: data}
}

func newTestValidator(t testing.TB) *Validator {
	t.Helper()
	v, err := NewValidator(1000)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestValidator_Event(t *testing.T) {
	v := newTestValidator(t)
	type change = func(*raffsyncv1.Event)
	for _, test := range []struct {
		name   string
		change change
		field  string // "" for a sound event
		says   string
	}{
		{"sound", func(*raffsyncv1.Event) {}, "", ""},
		{"no time", func(e *raffsyncv1.Event) { e.OccurredAt = nil }, "", ""},
		{"no data", func(e *raffsyncv1.Event) { e.Data = nil }, "", ""},
		{"empty data", func(e *raffsyncv1.Event) { e.Data = text("") }, "", ""},
		{"binary JSON", func(e *raffsyncv1.Event) { e.Data = binary("[1]") }, "", ""},
		{"any bytes of another type", func(e *raffsyncv1.Event) { e.Data = binary("\xff\x00"); e.ContentType = "image/png" }, "", ""},
		{"text", func(e *raffsyncv1.Event) { e.Data = binary("id;name\n\x00"); e.ContentType = "text/csv; charset=utf-8" }, "", ""},
		{"longest", func(e *raffsyncv1.Event) {
			e.Id, e.OrderingKey, e.Outlet = strings.Repeat("é", 100), strings.Repeat("k", 200), strings.Repeat("o", 120)
			e.Type = strings.Repeat("t", 120)
			e.References = map[string]string{strings.Repeat("n", 60): strings.Repeat("v", 200)}
			e.Data = text(`"` + strings.Repeat("x", 998) + `"`)
		}, "", ""},
		{"years 1 and 9999", func(e *raffsyncv1.Event) { e.OccurredAt = &timestamppb.Timestamp{Seconds: -62135596800} }, "", ""},

		{"no id", func(e *raffsyncv1.Event) { e.Id = "" }, "id", "required"},
		{"no type", func(e *raffsyncv1.Event) { e.Type = "" }, "type", "required"},
		{"no ordering key", func(e *raffsyncv1.Event) { e.OrderingKey = "" }, "ordering_key", "required"},
		{"id too long", func(e *raffsyncv1.Event) { e.Id = strings.Repeat("é", 100) + "x" }, "id", "at most 200 bytes"},
		{"ordering key too long", func(e *raffsyncv1.Event) { e.OrderingKey = strings.Repeat("x", 201) }, "ordering_key", "at most 200 bytes"},
		{"type in capitals", func(e *raffsyncv1.Event) { e.Type = "Order.Created" }, "type", "must be lower-case words joined by dots, such as order.created"},
		{"type that ends with a dot", func(e *raffsyncv1.Event) { e.Type = "order." }, "type", "such as order.created"},
		{"content type with a quoted parameter", func(e *raffsyncv1.Event) {
			e.Data, e.ContentType = text("x"), `text/plain; charset="utf-8"`
		}, "", ""},
		{"type too long", func(e *raffsyncv1.Event) { e.Type = strings.Repeat("t", 121) }, "type", "at most 120 bytes"},
		{"outlet too long", func(e *raffsyncv1.Event) { e.Outlet = strings.Repeat("o", 121) }, "outlet", "at most 120 bytes"},
		{"NUL in the id", func(e *raffsyncv1.Event) { e.Id = "a\x00b" }, "id", "control characters"},
		{"newline in the key", func(e *raffsyncv1.Event) { e.OrderingKey = "a\nb" }, "ordering_key", "control characters"},
		{"DEL in the outlet", func(e *raffsyncv1.Event) { e.Outlet = "a\x7f" }, "outlet", "control characters"},
		{"U+0085 in the outlet", func(e *raffsyncv1.Event) { e.Outlet = "a\u0085" }, "outlet", "control characters"},
		{"control character in a reference", func(e *raffsyncv1.Event) { e.References["order"] = "\t" }, `references["order"]`, "control characters"},
		{"empty reference", func(e *raffsyncv1.Event) { e.References["order"] = "" }, `references["order"]`, "at least 1 byte"},
		{"seventeen references", func(e *raffsyncv1.Event) {
			for _, c := range "abcdefghijklmnopq" {
				e.References[string(c)] = "x"
			}
		}, "references", "at most 16"},
		{"year 10000", func(e *raffsyncv1.Event) { e.OccurredAt = &timestamppb.Timestamp{Seconds: 253402300800} }, "occurred_at", ""},
		{"nanoseconds beyond a second", func(e *raffsyncv1.Event) { e.OccurredAt = &timestamppb.Timestamp{Nanos: 2e9} }, "occurred_at", "nanos"},
		{"content type", func(e *raffsyncv1.Event) { e.ContentType = "json" }, "content_type", "must be a media type, such as application/json"},
		{"data too large", func(e *raffsyncv1.Event) { e.Data = text(`"` + strings.Repeat("x", 999) + `"`) }, "text_data", "at most 1000 bytes, has 1001"},
		{"declared and absent", func(e *raffsyncv1.Event) { e.Data = nil; e.ContentType = "text/plain" }, "data", "must be set"},
		{"not JSON", func(e *raffsyncv1.Event) { e.Data = text(`{"total":}`) }, "text_data", "malformed at byte 10"},
		{"two values", func(e *raffsyncv1.Event) { e.Data = binary(`1 2`) }, "binary_data", "must be JSON"},
		{"declared JSON and empty", func(e *raffsyncv1.Event) { e.Data = binary(""); e.ContentType = "application/json" }, "binary_data", "it is empty"},
		{"JSON with a suffix", func(e *raffsyncv1.Event) {
			e.Data = text("x")
			e.ContentType = "application/cloudevents+json; charset=utf-8"
		}, "text_data", "must be JSON"},
		{"JSON that is not UTF-8", func(e *raffsyncv1.Event) { e.Data = binary("\"\xff\"") }, "binary_data", "must be UTF-8"},
		{"text that is not UTF-8", func(e *raffsyncv1.Event) { e.Data = binary("caf\xe9"); e.ContentType = "text/plain" }, "binary_data", "must be UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := sound()
			test.change(e)
			found := v.Event(e)
			if test.field == "" {
				if len(found) > 0 {
					t.Errorf("violations %v", found)
				}
				return
			}
			if len(found) != 1 || found[0].GetField() != test.field || !strings.Contains(found[0].GetMessage(), test.says) || found[0].GetMessage() == "" {
				t.Errorf("violations %v, want %s: %s", found, test.field, test.says)
			}
		})
	}
}

func TestValidator_Event_SaysABoundedAmount(t *testing.T) {
	v := newTestValidator(t)
	e := &raffsyncv1.Event{Id: "\n", Type: "!", References: map[string]string{}, Data: text("{")}
	for i := range 16 {
		e.References[strings.Repeat("\n", 10000+i)] = ""
	}
	found := v.event(e, payload(e))
	if len(found) != maxViolations {
		t.Errorf("%d violations", len(found))
	}
	for _, f := range found {
		if len(f.Field) > maxViolationField || len(f.Message) > maxViolationText {
			t.Errorf("%d and %d bytes", len(f.Field), len(f.Message))
		}
	}
	for i := range 50_000 {
		e.References[strings.Repeat("x", i%50)+string(rune(0x4e00+i))] = ""
	}
	if found := v.event(e, nil); found[0].Field != "references" {
		t.Errorf("%v", found[0])
	}
}

// Whatever passes at a glance passes the contract's rules, and an ordinary event
// does pass at a glance.
func TestPlainlyValid(t *testing.T) {
	v := newTestValidator(t)
	if !plainlyValid(sound()) {
		t.Error("the sound event does not pass")
	}
	odd := func(longest int) *rapid.Generator[string] {
		near := rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat("x", rapid.IntRange(longest-2, longest+1).Draw(t, "n")) + rapid.SampledFrom([]string{"", "é", "\u0080", "\u00a0", "\n", "\x7f"}).Draw(t, "tail")
		})
		return rapid.OneOf(rapid.String(), near, rapid.StringMatching(`[a-z0-9._-]{0,6}`))
	}
	passed := 0
	rapid.Check(t, func(t *rapid.T) {
		e := sound()
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			switch rapid.IntRange(0, 6).Draw(t, "field") {
			case 0:
				e.Id = odd(200).Draw(t, "id")
			case 1:
				e.Type = odd(120).Draw(t, "type")
			case 2:
				e.OrderingKey = odd(200).Draw(t, "key")
			case 3:
				e.Outlet = odd(120).Draw(t, "outlet")
			case 4:
				e.References = rapid.MapOfN(odd(60), odd(200), 0, 2).Draw(t, "references")
			case 5:
				e.References = rapid.MapOfN(rapid.StringMatching(`[a-z]{1,3}`), rapid.Just("x"), 14, 18).Draw(t, "many references")
			case 6:
				e.OccurredAt = &timestamppb.Timestamp{
					Seconds: rapid.SampledFrom([]int64{0, -62135596800, -62135596801, 253402300799, 253402300800}).Draw(t, "seconds"),
					Nanos:   rapid.SampledFrom([]int32{0, -1, 999999999, 1000000000}).Draw(t, "nanos"),
				}
			}
		}
		if !plainlyValid(e) {
			return
		}
		passed++
		if err := v.rules.Validate(e); err != nil {
			t.Fatalf("%v: %v", e, err)
		}
	})
	if passed == 0 {
		t.Error("nothing that was drawn is valid")
	}
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseFrame(t *testing.T) {
	batch := encode(t, &raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Batch{Batch: &raffsyncv1.Batch{Sequence: 7, Events: []*raffsyncv1.Event{sound(), {}}}}})
	f, err := parseFrame(batch, 2)
	if err != nil || f.kind != batchFrame || f.batch.sequence != 7 || len(f.batch.events) != 2 || f.batch.size != len(batch) {
		t.Errorf("%+v, %v", f, err)
	}
	var d decoder
	if found := d.decode(f.batch.events[0]); found != nil || !proto.Equal(&d.event, sound()) {
		t.Errorf("%v, %s", found, cmp.Diff(d.event.String(), sound().String()))
	}
	if _, err := parseFrame(batch, 1); err == nil || !strings.Contains(err.Error(), "at most 1 events") {
		t.Errorf("too many: %v", err)
	}
	if _, err := parseFrame(append(bytes.Clone(batch), batch...), 9); err == nil || !strings.Contains(err.Error(), "one frame") {
		t.Errorf("two frames: %v", err)
	}
	if f, err := parseFrame([]byte{0xa2, 0x06, 0x01, 'x'}, 9); err != nil || f.kind != 0 {
		t.Errorf("a frame of a later version: %+v, %v", f, err)
	}
}

func TestMessagePool_Get(t *testing.T) {
	var p messagePool
	for _, length := range []int{40_000, 10, maxMessageBytes, maxMessageBytes + 1, 0, maxMessageBytes} {
		b := p.Get(length)
		if len(*b) != length {
			t.Errorf("%d bytes, want %d", len(*b), length)
		}
		p.Put(b)
	}
}

// The broker takes a message apart by itself. It must take what protobuf takes, and
// see the same in it.
func FuzzParseFrame(f *testing.F) {
	for _, m := range []*raffsyncv1.PublishRequest{
		{Frame: &raffsyncv1.PublishRequest_Hello{Hello: &raffsyncv1.Hello{Client: "till-7"}}},
		{Frame: &raffsyncv1.PublishRequest_Batch{Batch: &raffsyncv1.Batch{Sequence: 1, Events: []*raffsyncv1.Event{sound()}}}},
		{Frame: &raffsyncv1.PublishRequest_Heartbeat{}},
	} {
		b, _ := proto.Marshal(m)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		parsed, err := parseFrame(message, 100)
		var whole raffsyncv1.PublishRequest
		if proto.Unmarshal(message, &whole) != nil {
			for _, encoded := range parsed.batch.events {
				new(decoder).decode(encoded)
			}
			return
		}
		if err != nil || parsed.kind != batchFrame {
			return // several frames or too many events, or nothing to compare
		}
		batch := whole.GetBatch()
		if batch.GetSequence() != parsed.batch.sequence || len(batch.GetEvents()) != len(parsed.batch.events) {
			t.Fatalf("%v, taken apart as %+v", &whole, parsed)
		}
		for i, encoded := range parsed.batch.events {
			var d decoder
			if found := d.decode(encoded); found != nil {
				t.Fatalf("event %d: %v", i, found)
			}
			if !proto.Equal(&d.event, batch.GetEvents()[i]) {
				t.Fatalf("event %d: %v, want %v", i, &d.event, batch.GetEvents()[i])
			}
		}
	})
}

func BenchmarkValidator_Event(b *testing.B) {
	v := newTestValidator(b)
	for name, e := range map[string]*raffsyncv1.Event{"AtAGlance": sound(), "ByTheRules": sound()} {
		b.Run(name, func(b *testing.B) {
			if name == "ByTheRules" {
				e.ContentType = "application/vnd.shop+json"
			}
			data := payload(e)
			b.ReportAllocs()
			for b.Loop() {
				if found := v.event(e, data); found != nil {
					b.Fatal(found)
				}
			}
		})
	}
}
