package hooks

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"raffsync/connectors/mapping"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// webhook is a request as it comes to a source of a format, without a signature.
type webhook struct {
	format, event string
	header        http.Header
	query, body   string
}

func (w webhook) extract(t testing.TB) (*raffsyncv1.Event, *Nonsense) {
	t.Helper()
	return w.extractBy(t, w.source(t))
}

// source is one of the webhook's format that signs nothing.
func (w webhook) source(t testing.TB) *Source {
	t.Helper()
	var event json.RawMessage
	if w.event != "" {
		event = json.RawMessage(w.event)
	}
	s, err := New(Config{
		Tenant: "kopi", Name: "shop", Webhook: json.RawMessage(`{"format": "` + w.format + `", "signature": {"scheme": "none"}}`), Event: event, Secret: secretOf,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w webhook) extractBy(t testing.TB, s *Source) (*raffsyncv1.Event, *Nonsense) {
	t.Helper()
	body, err := readBody(strings.NewReader(w.body), MaxBodyBytes, func(int64) bool { return true }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if w.header == nil {
		w.header = http.Header{}
	}
	e, err := s.eventOf(t.Context(), w.header, w.query, &body, sha256.Sum256([]byte(w.body)))
	var why *Nonsense
	if err != nil && !errors.As(err, &why) {
		t.Fatalf("an error of another kind: %v", err)
	}
	return e, why
}

const plainEvent = `{"id": "${body.id}", "type": "order.created", "ordering_key": "order/${body.id}"}`

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

func TestSource_Event(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		webhook
		// want is what it becomes, or the code of the nonsense.
		want *raffsyncv1.Event
		code string
	}{
		{
			name:    "by expressions",
			webhook: webhook{event: `{"id": "${headers['x-id']}/${query.shop}", "type": "Order Created", "ordering_key": "order/${body.id}", "outlet": "${body.outlet}", "references": {"order": "${body.number}", "none": "${body.none}", "null": "${body.nil}"}, "occurred_at": "${body.at}"}`, header: header("X-Id", "m1"), query: "shop=mall&shop=2", body: `{"id": 9007199254740993, "number": "R-1", "outlet": "mall", "nil": null, "at": 1492774577}`},
			want:    &raffsyncv1.Event{Id: "m1/mall", Type: "order.created", OrderingKey: "order/9007199254740993", Outlet: "mall", References: map[string]string{"order": "R-1"}},
		},
		{name: "what is optional may be absent", webhook: webhook{event: `{"id": "${body.id}", "type": "x", "ordering_key": "k", "outlet": "${body.o}", "occurred_at": "${body.at}"}`, body: `{"id": "a"}`}, want: &raffsyncv1.Event{Id: "a", Type: "x", OrderingKey: "k"}},
		{name: "the largest integer of 64 bits", webhook: webhook{event: plainEvent, body: `{"id": 9223372036854775807}`}, want: &raffsyncv1.Event{Id: "9223372036854775807", Type: "order.created", OrderingKey: "order/9223372036854775807"}},
		{name: "gzip", webhook: webhook{event: plainEvent, header: header("Content-Encoding", "gzip"), body: zipped(`{"id": 1}`)}, want: &raffsyncv1.Event{Id: "1", Type: "order.created", OrderingKey: "order/1"}},
		{name: "Latin-1", webhook: webhook{event: plainEvent, header: header("Content-Type", "application/json; charset=ISO-8859-1"), body: "{\"id\": \"caf\xe9\"}"}, want: &raffsyncv1.Event{Id: "café", Type: "order.created", OrderingKey: "order/café"}},
		{name: "UTF-16", webhook: webhook{event: plainEvent, header: header("Content-Type", "application/json; charset=utf-16le"), body: "\xff\xfe{\x00\"\x00i\x00d\x00\"\x00:\x00\x31\x00}\x00"}, want: &raffsyncv1.Event{Id: "1", Type: "order.created", OrderingKey: "order/1"}},
		{name: "a mark of byte order", webhook: webhook{event: plainEvent, body: "\ufeff{\"id\": 1}"}, want: &raffsyncv1.Event{Id: "1", Type: "order.created", OrderingKey: "order/1"}},
		{name: "a list", webhook: webhook{event: `{"id": "${body[0].id}", "type": "x", "ordering_key": "k"}`, body: `[{"id": 1}]`}, want: &raffsyncv1.Event{Id: "1", Type: "x", OrderingKey: "k"}},

		{name: "no JSON", webhook: webhook{event: plainEvent, body: "<html>"}, code: "BODY_NOT_JSON"},
		{name: "a form", webhook: webhook{event: plainEvent, body: "webhook_id=3"}, code: "BODY_NOT_JSON"},
		{name: "empty", webhook: webhook{event: plainEvent, body: " \n"}, code: "BODY_EMPTY"},
		{name: "10 MiB", webhook: webhook{event: plainEvent, body: `{"id": "` + strings.Repeat("x", 10<<20) + `"}`}, code: "BODY_TOO_LARGE"},
		{name: "a gzip bomb", webhook: webhook{event: plainEvent, header: header("Content-Encoding", "gzip"), body: zipped(`{"id": "` + strings.Repeat("x", 100<<20) + `"}`)}, code: "BODY_TOO_LARGE"},
		{name: "no gzip", webhook: webhook{event: plainEvent, header: header("Content-Encoding", "gzip"), body: `{"id": 1}`}, code: "BODY_ENCODING"},
		{name: "half of gzip", webhook: webhook{event: plainEvent, header: header("Content-Encoding", "gzip"), body: zipped(`{"id": 1}`)[:20]}, code: "BODY_ENCODING"},
		{name: "Brotli", webhook: webhook{event: plainEvent, header: header("Content-Encoding", "br"), body: `{"id": 1}`}, code: "BODY_ENCODING"},
		{name: "no UTF-8", webhook: webhook{event: plainEvent, body: "{\"id\": \"\xe9\"}"}, code: "BODY_CHARSET"},
		{name: "an unknown charset", webhook: webhook{event: plainEvent, header: header("Content-Type", "application/json; charset=klingon"), body: `{"id": 1}`}, code: "BODY_CHARSET"},
		{name: "not of its charset", webhook: webhook{event: plainEvent, header: header("Content-Type", "application/json; charset=shift_jis"), body: "{\"id\": \"\xff\xff\"}"}, code: "BODY_CHARSET"},
		{name: "a name twice", webhook: webhook{event: plainEvent, body: `{"id": 1, "a": {"id": 3}, "id": 2}`}, code: "BODY_DUPLICATE_NAME"},
		{name: "an id that is absent", webhook: webhook{event: plainEvent, body: `{"number": 1}`}, code: "EVENT_ID"},
		{name: "an id that is null", webhook: webhook{event: plainEvent, body: `{"id": null}`}, code: "EVENT_ID"},
		{name: "an id that is empty", webhook: webhook{event: plainEvent, body: `{"id": ""}`}, code: "EVENT_ID"},
		{name: "no type", webhook: webhook{event: `{"id": "1", "type": "${body.t}", "ordering_key": "k"}`, body: `{"t": "///"}`}, code: "EVENT_TYPE"},
		{name: "our own type", webhook: webhook{event: `{"id": "1", "type": "${body.t}", "ordering_key": "k"}`, body: `{"t": "raffsync.quarantined"}`}, code: "EVENT_TYPE"},
		{name: "no time", webhook: webhook{event: `{"id": "1", "type": "x", "ordering_key": "k", "occurred_at": "${body.at}"}`, body: `{"at": "yesterday"}`}, code: "EVENT_OCCURRED_AT"},
		{name: "an expression that fails", webhook: webhook{event: `{"id": "${string(body.a / body.b)}", "type": "x", "ordering_key": "k"}`, body: `{"a": 1, "b": 0}`}, code: "EVENT_ID"},

		{
			name:    "CloudEvents, binary",
			webhook: webhook{format: "cloudevents", header: header("Ce-Id", "1%202", "Ce-Source", "/shop", "Ce-Type", "com.example.OrderCreated", "Ce-Subject", "order/7", "Ce-Time", "2026-11-23T10:00:00Z"), body: `{"n": 1}`},
			want:    &raffsyncv1.Event{Id: "/shop/1 2", Type: "com.example.ordercreated", OrderingKey: "order/7", References: map[string]string{"subject": "order/7"}},
		},
		{
			name:    "CloudEvents, structured",
			webhook: webhook{format: "cloudevents", header: header("Content-Type", "application/cloudevents+json; charset=utf-8", "Ce-Id", "forged"), body: `{"specversion":"1.0","id":"1","source":"/shop","type":"order.created","data":{"n": 9007199254740993}}`},
			want:    &raffsyncv1.Event{Id: "/shop/1", Type: "order.created", OrderingKey: "/shop/1", Data: &raffsyncv1.Event_BinaryData{BinaryData: []byte(`{"n": 9007199254740993}`)}},
		},
		{
			name:    "CloudEvents, structured, in base64",
			webhook: webhook{format: "cloudevents", header: header("Content-Type", "application/cloudevents+json"), body: `{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"eyJuIjogMX0="}`},
			want:    &raffsyncv1.Event{Id: "s/1", Type: "t", OrderingKey: "s/1", Data: &raffsyncv1.Event_BinaryData{BinaryData: []byte(`{"n": 1}`)}},
		},
		{name: "no CloudEvent", webhook: webhook{format: "cloudevents", body: `{"id": "1"}`}, code: "CLOUDEVENT"},
		{name: "a CloudEvent without source", webhook: webhook{format: "cloudevents", header: header("Content-Type", "application/cloudevents+json"), body: `{"id":"1","type":"t"}`}, code: "CLOUDEVENT"},
		{name: "a CloudEvent of a list", webhook: webhook{format: "cloudevents", header: header("Content-Type", "application/cloudevents+json"), body: `[]`}, code: "CLOUDEVENT"},

		{
			name:    "Take.app",
			webhook: webhook{format: "takeapp", body: `{"type":"order.created","created_at":"2026-11-23T10:00:00Z","data":{"id":"ord_1","number":"1042","updated_at":"2026-11-23T10:00:01Z"}}`},
			want:    &raffsyncv1.Event{Id: "order.created/ord_1/2026-11-23T10:00:01Z", Type: "order.created", OrderingKey: "order/ord_1", References: map[string]string{"order": "1042"}},
		},
		{
			name:    "WooCommerce, deleted",
			webhook: webhook{format: "woocommerce", header: header("X-WC-Webhook-Topic", "coupon.deleted", "X-WC-Webhook-Resource", "coupon", "X-WC-Webhook-Delivery-Id", "d1"), body: `{"id":19}`},
			want:    &raffsyncv1.Event{Id: "coupon.deleted/19/d1", Type: "coupon.deleted", OrderingKey: "coupon/19"},
		},
		{
			name:    "Stripe, of an object without an id",
			webhook: webhook{format: "stripe", body: `{"id":"evt_1","type":"invoice.upcoming","created":1492774577,"data":{"object":{"object":"invoice"}}}`},
			want:    &raffsyncv1.Event{Id: "evt_1", Type: "invoice.upcoming", OrderingKey: "invoice/evt_1"},
		},
		{
			name:    "Standard Webhooks",
			webhook: webhook{format: "standard-webhooks", header: header("Webhook-Id", "msg_1"), body: `{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z","data":{"id":"1f81eb52"}}`},
			want:    &raffsyncv1.Event{Id: "msg_1", Type: "contact.created", OrderingKey: "1f81eb52"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, why := test.extract(t)
			if test.code != "" || why != nil {
				if why == nil || why.Code != test.code {
					t.Fatalf("%+v, want %s", why, test.code)
				}
				return
			}
			if test.want.Data == nil {
				e.Data, e.ContentType = nil, ""
			} else {
				test.want.ContentType = "application/json"
			}
			e.OccurredAt = nil
			if !proto.Equal(e, test.want) {
				t.Errorf("%v\nwant %v", e, test.want)
			}
		})
	}
}

// samples are webhooks as platforms sent them, with their headers.
func samples(t testing.TB, platform string) map[string]webhook {
	t.Helper()
	folder := os.Getenv("RAFFSYNC_SHARED_DATA")
	if folder == "" {
		folder = "../../../shared/data"
	}
	paths, _ := filepath.Glob(filepath.Join(folder, "webhooks", platform, "*.json"))
	if len(paths) == 0 {
		t.Skipf("the real data is not on this machine (RAFFSYNC_SHARED_DATA names its folder): no webhooks of %s in %s", platform, folder)
	}
	all := make(map[string]webhook)
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		recorded, ok := ReadRecorded(content)
		if !ok {
			t.Fatalf("%s is no recorded webhook", path)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".json")] = webhook{format: platform, header: recorded.Header, body: string(recorded.Body)}
	}
	return all
}

// Each real webhook becomes an event, by the defaults alone; all of an order have its
// ordering key.
func TestSource_Event_RealData(t *testing.T) {
	t.Parallel()
	for _, platform := range []string{"shopify", "woocommerce", "stripe"} {
		t.Run(platform, func(t *testing.T) {
			ids := make(map[string]string)
			for name, w := range samples(t, platform) {
				e, why := w.extract(t)
				if why != nil {
					t.Errorf("%s: %+v", name, why)
					continue
				}
				if other, twice := ids[e.GetId()]; twice {
					t.Errorf("%s and %s have one id", name, other)
				}
				ids[e.GetId()] = name
				if kind := e.GetOrderingKey(); platform == "shopify" && (strings.HasPrefix(name, "order") || strings.HasPrefix(name, "refund")) && kind != "order/820982911946154500" {
					t.Errorf("%s has the ordering key %s", name, kind)
				}
				t.Logf("%s: id %s, type %s, key %s, at %s, %v", name, e.GetId(), e.GetType(), e.GetOrderingKey(), e.GetOccurredAt().AsTime(), e.GetReferences())
			}
		})
	}
}

func TestTypeOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"order.created": "order.created", "orders/create": "orders.create", "Order Created": "order.created", "a__b-.c": "a__b-.c",
		"customer.subscription.trial_will_end": "customer.subscription.trial_will_end", "/x/": "x", "": "", "é": "", "com.Example.Order:Paid": "com.example.order.paid", "_a_": "a",
	} {
		if got := typeOf(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func FuzzTypeOf(f *testing.F) {
	f.Add("orders/create")
	f.Fuzz(func(t *testing.T, text string) {
		got := typeOf(text)
		if got != "" && !validType.MatchString(got) {
			t.Fatalf("%q is %q", text, got)
		}
		if typeOf(got) != got {
			t.Fatalf("%q is %q, and that is %q", text, got, typeOf(got))
		}
	})
}

// duplicate is what duplicateName tells, by encoding/json.
func duplicate(data []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(data))
	var object func(closing json.Delim) bool
	value := func() bool {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		if d, ok := token.(json.Delim); ok {
			return object(d)
		}
		return false
	}
	object = func(opening json.Delim) bool {
		names := make(map[string]bool)
		found := false
		for decoder.More() {
			if opening == '{' {
				token, err := decoder.Token()
				name, ok := token.(string)
				if err != nil || !ok {
					return found
				}
				found = found || names[name]
				names[name] = true
			}
			found = value() || found
		}
		_, _ = decoder.Token()
		return found
	}
	return value()
}

func FuzzDuplicateName(f *testing.F) {
	many := `{"a0":0`
	for _, c := range "bcdefghijklmnopqrstuvwxyzABCDEFG" {
		many += `,"` + string(c) + `":1`
	}
	for _, seed := range []string{`{}`, `{"a":1,"a":2}`, `{"a":{"a":1},"b":[{"a":1},{"a":2}]}`, `{"a":1,"\u0061":2}`, `["a","a"]`, `{"a":"a","b":"a\"a"}`, many + `}`, many + `,"b":2}`, `{"x":[],"y":{"x":1,"y":2,"x":3}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !mapping.ValidJSON(data) || !json.Valid(data) || !bytes.Equal(bytes.ToValidUTF8(data, nil), data) {
			return
		}
		if got, want := duplicateName(data), duplicate(data); got != want {
			t.Fatalf("%q: %v, want %v", data, got, want)
		}
	})
}

// Whatever comes, it is an event that the contract allows in form, or nonsense.
func FuzzSource_Event(f *testing.F) {
	f.Add([]byte(`{"id":1,"type":"x","data":{"id":2}}`), "application/json", "orders/create")
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"eyJuIjogMX0="}`), "application/cloudevents+json", "")
	sources := make(map[string]*Source)
	for format := range formats() {
		sources[format] = webhook{format: format}.source(f)
	}
	f.Fuzz(func(t *testing.T, body []byte, contentType, topic string) {
		for format, s := range sources {
			w := webhook{format: format, body: string(body), header: http.Header{
				"Content-Type": {contentType}, "X-Shopify-Topic": {topic}, "X-Shopify-Webhook-Id": {topic}, "Webhook-Id": {topic},
				"X-Wc-Webhook-Topic": {topic}, "X-Wc-Webhook-Resource": {topic}, "Ce-Id": {topic}, "Ce-Type": {topic}, "Ce-Source": {topic},
			}}
			e, why := w.extractBy(t, s)
			if why == nil && (e.GetId() == "" || !validType.MatchString(e.GetType()) || e.GetOrderingKey() == "") {
				t.Fatalf("%s: %v", format, e)
			}
			if why != nil && why.Code == "" {
				t.Fatalf("%s: %+v", format, why)
			}
		}
	})
}

func BenchmarkSource(b *testing.B) {
	s := source(b, `{"scheme": "shopify", "secrets": ["env:HUSH"]}`, `{}`)
	body := []byte(`{"id": 820982911946154500, "order_number": 1042, "updated_at": "2026-11-23T10:00:00Z", "line_items": [` +
		strings.Repeat(`{"sku":"LATTE-OAT","quantity":2,"unit_price":"18.50","name":"Caffe latte"},`, 20) + `{}]}`)
	h := header("X-Shopify-Topic", "orders/create", "X-Shopify-Webhook-Id", "8a95126f-859a-4db9-b8f1-350e299e9ea0", "Content-Type", "application/json")
	s.Sign(h, body, "", noon)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		c, distrust := s.verifier.begin(h, noon)
		digest := sha256.New()
		r, err := readBody(bytes.NewReader(body), MaxBodyBytes, func(int64) bool { return true }, io.MultiWriter(c, digest))
		if err != nil || distrust != trusted || !c.holds() {
			b.Fatal(err, distrust)
		}
		if _, err := s.eventOf(b.Context(), h, "", &r, [32]byte(digest.Sum(nil))); err != nil {
			b.Fatal(err)
		}
	}
}
