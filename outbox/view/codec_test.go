package view

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"raffsync/outbox"
)

var anyTime = rapid.Custom(func(t *rapid.T) time.Time {
	return time.UnixMicro(rapid.Int64Range(0, latest.UnixMicro()).Draw(t, "micros")).UTC()
})

func TestID_ReadsWhatItWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		event := outbox.EventID{AcceptedAt: anyTime.Draw(t, "at"), Seq: outbox.Seq(rapid.Int64().Draw(t, "seq"))}
		delivery := outbox.DeliveryID{Event: event, Destination: rapid.Int32().Draw(t, "destination"), Replay: rapid.Int32().Draw(t, "replay")}
		exception := rapid.Int64().Draw(t, "exception")
		entry := EntryID{At: event.AcceptedAt, Entry: exception}

		gotEvent, err1 := ParseEventID(FormatEventID(event))
		gotDelivery, err2 := ParseDeliveryID(FormatDeliveryID(delivery))
		gotException, err3 := ParseExceptionID(FormatExceptionID(exception))
		gotEntry, err4 := ParseEntryID(FormatEntryID(entry))
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		if gotEvent != event || gotDelivery != delivery || gotException != exception || gotEntry != entry {
			t.Fatalf("read %v %v %v %v; wrote %v %v %v %v", gotEvent, gotDelivery, gotException, gotEntry, event, delivery, exception, entry)
		}
	})
}

func TestID_RefusesOtherTexts(t *testing.T) {
	good := FormatEventID(outbox.EventID{AcceptedAt: time.UnixMicro(1), Seq: 1})
	for name, text := range map[string]string{
		"Empty":        "",
		"NoPrefix":     good[4:],
		"AnotherKind":  "dlv_" + good[4:],
		"Short":        good[:len(good)-1],
		"Long":         good + "A",
		"LineBreak":    good[:10] + "\n" + good[10:],
		"Padded":       good + "==",
		"UnusedBits":   good[:len(good)-1] + "B",
		"StandardBase": "evt_" + base64.StdEncoding.EncodeToString(make([]byte, 16)),
		"BeforeTime":   eventPrefix + encoder(nil).int64(-1).int64(1).String(),
		"AfterTime":    eventPrefix + encoder(nil).int64(latest.UnixMicro()+1).int64(1).String(),
	} {
		t.Run(name, func(t *testing.T) {
			if id, err := ParseEventID(text); !errors.Is(err, ErrID) {
				t.Errorf("ParseEventID(%q) = %v, %v; want ErrID", text, id, err)
			}
		})
	}
}

func TestCursor_ReadsWhatItWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := moment{anyTime.Draw(t, "at"), rapid.Int64().Draw(t, "number")}
		c := cell{rapid.Int16().Draw(t, "lane"), rapid.Int32().Draw(t, "destination"), m.number}
		p := position{rapid.Int64Min(0).Draw(t, "seq"), c.destination}
		k := cause{m, c}
		v := mappingValue(rapid.StringMatching(`[ -~é]{1,50}`).Draw(t, "value"))
		r := revision{m.number, c.destination, rapid.StringMatching(`[a-z0-9]{1,63}`).Draw(t, "table"), rapid.SampledFrom([]string{"", string(v)}).Draw(t, "of")}
		g := gap{m.number, rapid.Int64().Draw(t, "exception")}
		h := hit{rapid.ByteMax(rankOrderingKey).Draw(t, "rank"), m}
		x := content{
			m.at, c.destination, [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash")),
			rapid.StringMatching(`[ -~é]{1,50}`).Draw(t, "id"),
		}

		gotM, err1 := momentBefore(listEvents, m.cursor(listEvents))
		gotC, err2 := parseCell(c.cursor())
		gotP, err3 := parsePosition(p.cursor())
		gotH, err4 := parseHit(h.cursor())
		gotX, err5 := parseContent(x.cursor())
		gotL, err6 := ParseHorizon(FormatHorizon(m.at))
		gotK, err7 := parseCause(k.cursor())
		gotV, err8 := parseMappingValue(v.cursor())
		gotR, err9 := parseRevision(r.cursor())
		gotG, err10 := parseGap(g.cursor())
		if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9, err10); err != nil {
			t.Fatal(err)
		}
		got, want := []any{gotM, gotC, gotP, gotH, gotX, gotL, gotK, gotV, gotR, gotG}, []any{m, c, p, h, x, m.at, k, v, r, g}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(moment{}, cell{}, position{}, hit{}, content{}, cause{}, revision{}, gap{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestCursor_OfAnotherListOrVersionIsRefused(t *testing.T) {
	m := moment{time.UnixMicro(5).UTC(), 6}
	if _, err := momentBefore(listExceptions, m.cursor(listEvents)); !errors.Is(err, ErrCursor) {
		t.Errorf("a cursor of events among exceptions: %v; want ErrCursor", err)
	}
	older := encoder{cursorVersion - 1, byte(listEvents)}.time(m.at).int64(m.number).String()
	if _, err := momentBefore(listEvents, older); !errors.Is(err, ErrCursor) {
		t.Errorf("a cursor of another version: %v; want ErrCursor", err)
	}
}

// Whatever a decoder takes is what an encoder gives: so no two texts mean one place,
// and nothing makes it panic.
func FuzzCursor(f *testing.F) {
	m := moment{time.UnixMicro(1700000000000000), 1 << 40}
	for _, seed := range []string{
		"", "AA", m.cursor(listEvents), m.cursor(listTimeline), cell{1, 2, 3}.cursor(), position{1, 2}.cursor(), cause{m, cell{1, 2, 3}}.cursor(),
		hit{2, m}.cursor(), content{m.at, 1, [32]byte{9}, "id"}.cursor(), FormatHorizon(m.at),
		mappingValue("LATTE").cursor(), revision{7, 3, "sku", "LATTE"}.cursor(), gap{5, 6}.cursor(),
		FormatEventID(outbox.EventID{AcceptedAt: m.at, Seq: 1}),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		again := func(got string, err error) {
			if err == nil && got != text {
				t.Errorf("%q was taken for %q", text, got)
			}
		}
		if text != "" {
			m, err := momentBefore(listEvents, text)
			again(m.cursor(listEvents), err)
			c, err := parseCell(text)
			again(c.cursor(), err)
			p, err := parsePosition(text)
			again(p.cursor(), err)
			h, err := parseHit(text)
			again(h.cursor(), err)
			x, err := parseContent(text)
			again(x.cursor(), err)
			k, err := parseCause(text)
			again(k.cursor(), err)
			v, err := parseMappingValue(text)
			again(v.cursor(), err)
			r, err := parseRevision(text)
			again(r.cursor(), err)
			g, err := parseGap(text)
			again(g.cursor(), err)
			l, err := ParseHorizon(text)
			again(FormatHorizon(l), err)
		}
		event, err := ParseEventID(text)
		again(FormatEventID(event), err)
		delivery, err := ParseDeliveryID(text)
		again(FormatDeliveryID(delivery), err)
		entry, err := ParseEntryID(text)
		again(FormatEntryID(entry), err)
		exception, err := ParseExceptionID(text)
		again(FormatExceptionID(exception), err)
	})
}
