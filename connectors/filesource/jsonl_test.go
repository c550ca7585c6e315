package filesource_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"raffsync/connectors/filesource"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestReader_JSONLines(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 11, 23, 10, 41, 0, 0, time.UTC))

	t.Run("EventsOfTheContract", func(t *testing.T) {
		want := []*raffsyncv1.Event{
			{
				Id: "1", Type: "order.created", OrderingKey: "order/1", OccurredAt: at, Outlet: "mall", References: map[string]string{"order": "1"},
				ContentType: "application/json", Data: &raffsyncv1.Event_TextData{TextData: `{"total":1.50}`},
			},
			{Id: "2", Type: "order.created", OrderingKey: "order/2", Data: &raffsyncv1.Event_BinaryData{BinaryData: []byte("hello")}},
		}
		text := `{"id":"1","type":"order.created","orderingKey":"order/1","occurredAt":"2026-11-23T10:41:00Z","outlet":"mall","references":{"order":"1"},"contentType":"application/json","textData":"{\"total\":1.50}"}` + "\n" +
			"\n  \n" +
			`{"id":"2","type":"order.created","ordering_key":"order/2","binaryData":"aGVsbG8="}`
		for name, text := range map[string]string{
			"Plain": text, "GZIP": zipped(t, text), "CRLF": strings.ReplaceAll(text, "\n", "\r\n"), "ByteOrderMark": "\xef\xbb\xbf" + text, "LineEnd": text + "\n", "SpaceFirst": " \n" + text,
		} {
			events, problems := read(t, filesource.Config{Input: strings.NewReader(text)})
			if len(problems) > 0 {
				t.Fatalf("%s: %v", name, problems)
			}
			if diff := cmp.Diff(want, events, protocmp.Transform()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})

	t.Run("MappedObjects", func(t *testing.T) {
		cfg := filesource.Config{
			Input: strings.NewReader(`{"no": 1042, "kind": "order.created", "total": 1.50, "when": "2026-11-23T10:41:00Z", "customer": null, "lines": [1, 2]}` + "\n" +
				`{"no": 1043, "kind": "order.paid", "when": "2026-11-23T10:41:00Z", "customer": "é", "paid": true}`),
			ID: "order/{no}", Type: "{kind}", OrderingKey: "customer/{customer}|order/{no}", Time: "when",
			References: map[string]string{"customer": "{customer}", "paid": "{paid}"},
		}
		want := []*raffsyncv1.Event{
			{Id: "order/1042", Type: "order.created", OrderingKey: "order/1042", OccurredAt: at, Data: &raffsyncv1.Event_BinaryData{
				BinaryData: []byte(`{"no": 1042, "kind": "order.created", "total": 1.50, "when": "2026-11-23T10:41:00Z", "customer": null, "lines": [1, 2]}`),
			}},
			{Id: "order/1043", Type: "order.paid", OrderingKey: "customer/é", OccurredAt: at, References: map[string]string{"customer": "é", "paid": "true"}, Data: &raffsyncv1.Event_BinaryData{
				BinaryData: []byte(`{"no": 1043, "kind": "order.paid", "when": "2026-11-23T10:41:00Z", "customer": "é", "paid": true}`),
			}},
		}
		events, problems := read(t, cfg)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if diff := cmp.Diff(want, events, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("SelectedPayload", func(t *testing.T) {
		events, problems := read(t, filesource.Config{
			Input: strings.NewReader(`{"no": 7, "total": 1.50, "card": "4242", "note": "\u00e9"}`),
			ID:    "no", Type: "t", OrderingKey: "k", Payload: []string{"note", "total", "absent"},
		})
		if len(problems) > 0 || string(events[0].GetBinaryData()) != `{"note":"\u00e9","total":1.50}` {
			t.Error(events, problems)
		}
	})

	t.Run("RefusesTheLineAndGoesOn", func(t *testing.T) {
		plain := filesource.Config{MaxEventBytes: 100}
		mapped := filesource.Config{ID: "no", Type: "t", OrderingKey: "order/{no}", MaxEventBytes: 100}
		for name, tc := range map[string]struct {
			cfg  filesource.Config
			line string
			want string
		}{
			"NoObject":        {plain, `["a"]`, "it is no event"},
			"Broken":          {plain, `{"id":"2"`, "it is no event"},
			"UnknownField":    {plain, `{"id":"2","kind":"t"}`, `unknown field "kind"`},
			"NoID":            {plain, `{"type":"t","orderingKey":"k"}`, "no id"},
			"NoType":          {plain, `{"id":"2","orderingKey":"k"}`, "no type"},
			"NoOrderingKey":   {plain, `{"id":"2","type":"t"}`, "no ordering key"},
			"NotUTF8":         {plain, "{\"id\":\"\xff\"}", "not UTF-8"},
			"DataTooLarge":    {plain, `{"id":"2","type":"t","orderingKey":"k","textData":"` + strings.Repeat("x", 101) + `"}`, "101 bytes and 100 are allowed"},
			"LineTooLong":     {plain, `{"id":"2","textData":"` + strings.Repeat("x", 200_000) + `"}`, "more than 65936 bytes"},
			"MappedBroken":    {mapped, `{"no":2`, "no JSON object"},
			"MappedNull":      {mapped, `null`, "no JSON object"},
			"MappedNoID":      {mapped, `{"nr":2}`, "the id is empty (no)"},
			"MappedObjectID":  {mapped, `{"no":{"a":1}}`, `field "no" is a list or an object`},
			"MappedTooLarge":  {mapped, `{"no":2,"x":"` + strings.Repeat("x", 100) + `"}`, "115 bytes"},
			"MappedEmptyText": {mapped, `{"no":""}`, "the id is empty"},
		} {
			t.Run(name, func(t *testing.T) {
				good := `{"id":"1","type":"t","orderingKey":"k"}`
				if tc.cfg.ID != "" {
					good = `{"no":1}`
				}
				tc.cfg.Format = filesource.JSONLines
				tc.cfg.Input = strings.NewReader(good + "\n" + tc.line + "\n" + good)
				events, problems := read(t, tc.cfg)
				var refused *filesource.EventError
				if len(events) != 2 || len(problems) != 1 || !errors.As(problems[0], &refused) {
					t.Fatalf("%d events, %v", len(events), problems)
				}
				if !strings.Contains(refused.Problem, tc.want) || !cmp.Equal(refused.Lines, []int{2}) || len(refused.Error()) > 400 {
					t.Errorf("%v %v, want %q", refused.Lines, refused, tc.want)
				}
			})
		}
	})

	t.Run("TruncatedGZIPEndsInAnErrorNotInHalfALine", func(t *testing.T) {
		text := zipped(t, strings.Repeat(`{"id":"1","type":"t","orderingKey":"k"}`+"\n", 9999))
		events, problems := read(t, filesource.Config{Input: strings.NewReader(text[:len(text)/2])})
		var refused *filesource.InputError
		if len(problems) != 1 || !errors.As(problems[0], &refused) || refused.Line != len(events) || !strings.Contains(refused.Error(), "ends too early") {
			t.Errorf("%d events, %v", len(events), problems)
		}
	})
}

func TestEvents_StopWhenAsked(t *testing.T) {
	for _, text := range []string{shop, strings.Repeat(`{"InvoiceNo":"1","InvoiceDate":"2026-11-23T10:41:00Z"}`+"\n", 5)} {
		cfg := invoices(text)
		r, err := filesource.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range r.Events() {
			if err != nil {
				t.Error(err)
			}
			n++
			if n == 2 {
				break
			}
		}
		if got := r.Progress().Events; got != 2 {
			t.Errorf("%d events were made", got)
		}
	}
}
