package filesource_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"raffsync/connectors/filesource"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// lines decodes an event's payload.
func lines(t testing.TB, e *raffsyncv1.Event) []map[string]string {
	t.Helper()
	var payload struct {
		Lines []map[string]string `json:"lines"`
	}
	if err := json.Unmarshal(e.GetBinaryData(), &payload); err != nil {
		t.Fatalf("event %q: %v in %s", e.Id, err, e.GetBinaryData())
	}
	return payload.Lines
}

// Whatever is written comes back: each line once, in the event of its id, in the
// file's order; events in the order of their first lines.
func TestReader_PropertyOfGrouping(t *testing.T) {
	value := rapid.StringOfN(rapid.OneOf(rapid.RuneFrom([]rune("ab ,;\"'\n\t\\{}é€😀\u2028\u0001")), rapid.Rune().Filter(func(r rune) bool { return r != '\r' })), 0, 12, -1)
	rapid.Check(t, func(rt *rapid.T) {
		columns := []string{"id", "a", "b"}
		records := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) []string {
			return []string{fmt.Sprint("i", rapid.IntRange(0, 5).Draw(rt, "id")), value.Draw(rt, "a"), value.Draw(rt, "b")}
		}), 0, 30).Draw(rt, "records")
		var text bytes.Buffer
		w := csv.NewWriter(&text)
		w.UseCRLF = rapid.Bool().Draw(rt, "crlf")
		if err := errors.Join(w.Write(columns), w.WriteAll(records)); err != nil {
			rt.Fatal(err)
		}
		content := text.String()
		if rapid.Bool().Draw(rt, "mark") {
			content = "\xef\xbb\xbf" + content
		}
		if rapid.Bool().Draw(rt, "gzip") {
			content = zipped(t, content)
		}
		var ids []string
		want := map[string][]map[string]string{}
		for _, r := range records {
			if !slices.Contains(ids, r[0]) {
				ids = append(ids, r[0])
			}
			want[r[0]] = append(want[r[0]], map[string]string{"id": r[0], "a": r[1], "b": r[2]})
		}

		events, problems := read(t, filesource.Config{Input: strings.NewReader(content), Format: filesource.CSV, ID: "id", Type: "t", OrderingKey: "{id}"})
		if len(problems) > 0 {
			rt.Fatal(problems)
		}
		var got []string
		for _, e := range events {
			got = append(got, e.Id)
			if diff := cmp.Diff(want[e.Id], lines(t, e)); diff != "" {
				rt.Fatalf("%s (-want +got):\n%s", e.Id, diff)
			}
		}
		if diff := cmp.Diff(ids, got); diff != "" {
			rt.Fatalf("order (-want +got):\n%s", diff)
		}
	})
}

// FuzzReader_CSV: nothing panics, and each line is in an event or in an error.
func FuzzReader_CSV(f *testing.F) {
	for _, text := range []string{shop, "", "\xef\xbb\xbfInvoiceNo,b\n1,\"x\ny\"\n1,z", "InvoiceNo\n\n1\n2\n1", "InvoiceNo,b\r\n1,\xff\r\n,2", "InvoiceNo,b\n1,\"", zipped(f, shop), zipped(f, shop)[:50]} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg := filesource.Config{
			Input: bytes.NewReader(text), Format: filesource.CSV, ID: "InvoiceNo", Type: "t", OrderingKey: "{InvoiceNo}", MaxBytes: 1 << 20, MaxEventBytes: 4096,
		}
		events, problems := read(t, cfg)
		counted := 0
		for _, e := range events {
			counted += len(lines(t, e))
		}
		for i, problem := range problems {
			var input *filesource.InputError
			var event *filesource.EventError
			switch {
			case errors.As(problem, &input):
				if len(events) > 0 || i != len(problems)-1 {
					t.Fatalf("%v after %d events", input, len(events))
				}
				return
			case errors.As(problem, &event):
				counted += len(event.Lines)
			default:
				t.Fatalf("%T: %v", problem, problem)
			}
		}
		if bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
			return // what it holds is the same reader's business once unzipped
		}
		if want := records(t, text); counted != want {
			t.Errorf("%d of %d lines are in events or errors", counted, want)
		}
	})
}

func records(t *testing.T, text []byte) int {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	for n := -1; ; n++ {
		if _, err := r.Read(); errors.Is(err, io.EOF) {
			return n
		} else if err != nil {
			t.Fatalf("taken as good: %v", err)
		}
	}
}

// FuzzReader_JSONLines: the same, and a payload taken is the line as it stands.
func FuzzReader_JSONLines(f *testing.F) {
	for _, text := range []string{"{\"no\":1}\n\n{\"no\":\"2\"}", "{\"no\":null}\r\n[]", "{\"no\":1e5}\n{\"no\":\"\\u0000\"}", "\xff\n{\"no\":true}", strings.Repeat("x", 100) + "\n{}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, start := range []string{"\x1f\x8b", "\xef\xbb\xbf", "\xff\xfe", "\xfe\xff", "PK\x03\x04"} {
			if bytes.HasPrefix(text, []byte(start)) {
				return
			}
		}
		want := 0
		for line := range bytes.SplitSeq(text, []byte("\n")) {
			if len(bytes.TrimSpace(line)) > 0 {
				want++
			}
		}
		for _, cfg := range []filesource.Config{{}, {ID: "no", Type: "t", OrderingKey: "{no}"}} {
			cfg.Input, cfg.Format, cfg.MaxEventBytes = bytes.NewReader(text), filesource.JSONLines, 64
			events, problems := read(t, cfg)
			if got := len(events) + len(problems); got != want {
				t.Errorf("%d events and %d errors of %d lines", len(events), len(problems), want)
			}
			for _, e := range events {
				if cfg.ID != "" && !bytes.Contains(text, e.GetBinaryData()) {
					t.Errorf("payload %q is not of the file", e.GetBinaryData())
				}
			}
		}
	})
}
