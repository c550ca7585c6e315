package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"raffsync/connectors/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mapping are the flags of the worked example.
var mapping = []string{
	"--id", "InvoiceNo", "--type", "invoice.issued", "--type-if", "C*=invoice.cancelled",
	"--ordering-key", "customer/{CustomerID}|invoice/{InvoiceNo}", "--time", "InvoiceDate", "--outlet", "Country",
	"--reference", "invoice={InvoiceNo}", "--reference", "customer={CustomerID}",
}

const header = "InvoiceNo,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

// outcome is what a run left.
type outcome struct {
	err            error
	stdout, stderr string
	code           int
}

func (o outcome) summary(t *testing.T) (s summary) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil {
		t.Fatalf("%v in %q (%v)", err, o.stdout, o.err)
	}
	return s
}

func parse(t *testing.T, args ...string) *Command {
	t.Helper()
	var command Command
	parser, err := kong.New(&command, kong.Name("publish"), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &command
}

// run runs `raffsync publish` with the arguments.
func run(t *testing.T, ctx context.Context, stdin io.Reader, args ...string) outcome {
	t.Helper()
	t.Setenv(keyVariable, testKey)
	command := parse(t, args...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = stdin, &stdout, &stderr
	o := outcome{err: command.Run(ctx)}
	o.stdout, o.stderr = stdout.String(), stderr.String()
	if o.err != nil {
		o.code = 1
		var coded kong.ExitCoder
		if errors.As(o.err, &coded) {
			o.code = coded.ExitCode()
		}
	}
	if all := fmt.Sprint(o.err, o.stdout, o.stderr); strings.Contains(all, testKey) {
		t.Errorf("the key shows: %s", all)
	}
	return o
}

func with(args []string, more ...string) []string {
	return append(append([]string{}, args...), more...)
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// sales has one invoice a number, two lines each.
func sales(from, to int) string {
	var b strings.Builder
	b.WriteString(header)
	for i := from; i < to; i++ {
		for range 2 {
			fmt.Fprintf(&b, "%d,1,2026-11-23T10:41:00Z,1.00,%d,Mall\n", i, i%7)
		}
	}
	return b.String()
}

func TestCommand_Publishes(t *testing.T) {
	b := startBroker(t, nil)
	file := write(t, "sales.csv", sales(0, 1000))
	args := with(mapping, file, "--to", b.address, "--json")

	first := run(t, within(t), nil, args...)
	got := first.summary(t)
	want := summary{File: "sales.csv", Source: "shop", Lines: 2000, Events: 1000, Accepted: 1000, Seconds: got.Seconds, Refused: []refusal{}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(summary{})); diff != "" || first.code != 0 {
		t.Errorf("first run, exit %d: %v (-want +got):\n%s", first.code, first.err, diff)
	}
	if len(b.order) != 1000 || b.order[0] != "0" || b.order[999] != "999" {
		t.Errorf("%d events arrived", len(b.order))
	}
	again := run(t, within(t), nil, args...)
	got = again.summary(t)
	want = summary{File: "sales.csv", Source: "shop", Lines: 2000, Events: 1000, Duplicates: 1000, Seconds: got.Seconds, Refused: []refusal{}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(summary{})); diff != "" || again.code != 0 {
		t.Errorf("second run, exit %d: %v (-want +got):\n%s", again.code, again.err, diff)
	}
}

func TestCommand_PublishesFromStandardInput(t *testing.T) {
	b := startBroker(t, nil)
	text := `{"id":"1","type":"order.created","orderingKey":"order/1","textData":"{}"}` + "\n" +
		`{"id":"2","type":"order.created","orderingKey":"order/2","outlet":"nowhere"}` + "\n"
	o := run(t, within(t), strings.NewReader(text), "--to", b.address)
	if o.err != nil || len(b.events) != 2 {
		t.Fatal(o.err, b.events)
	}
	for _, want := range []string{"2 events of 2 lines read from standard input, published as source shop in ", "accepted                  1\n", "duplicate                 0\n", "unrouted                  1   durable"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
}

func TestCommand_ListsWhatWasRefused(t *testing.T) {
	b := startBroker(t, nil)
	rejected := filepath.Join(t.TempDir(), "refused.jsonl")
	known := write(t, "known.csv", sales(0, 1))
	if o := run(t, within(t), nil, with(mapping, known, "--to", b.address)...); o.err != nil {
		t.Fatal(o.err)
	}
	text := header +
		"0,2,2026-11-23T10:41:00Z,1.00,9,Mall\n" + // other content: conflict
		"1,1,2026-11-23T10:41:00Z,1.00,9," + strings.Repeat("x", 121) + "\n" + // invalid at the broker
		"2,1,yesterday,1.00,9,Mall\n" + // invalid here
		"3,1,2026-11-23T10:41:00Z,1.00,9,Mall\n"
	file := write(t, "sales.csv", text)
	o := run(t, within(t), nil, with(mapping, file, "--to", b.address, "--rejected", rejected)...)
	if o.code != 3 || !strings.Contains(o.err.Error(), "2 events are invalid: correct them and publish them again; 1 event is in conflict") {
		t.Errorf("exit %d: %v", o.code, o.err)
	}
	for _, want := range []string{
		"accepted                  1\n", "conflict                  1   another content", "invalid                   2   not kept\n",
		`- conflict "0": a person decides`, `- invalid "1": outlet must be at most 120 bytes; shorten the outlet`,
		`- invalid "2" (line 4): "yesterday" in InvoiceDate is no time`, "all of them are in " + rejected,
	} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
	content, err := os.ReadFile(rejected)
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[string]string{}
	var events []string
	for line := range strings.Lines(string(content)) {
		var r refusal
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		statuses[r.ID] = r.Status
		if r.Event != nil {
			events = append(events, strings.Replace(string(r.Event), strings.Repeat("x", 121), "Mall", 1))
		}
	}
	if diff := cmp.Diff(map[string]string{"0": conflict, "1": invalid, "2": invalid}, statuses); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	// What was corrected can be published as it is.
	corrected := run(t, within(t), strings.NewReader(strings.Join(events, "\n")), "--to", b.address, "--json")
	if got := corrected.summary(t); got.Accepted != 1 || got.Conflicts != 1 || b.events["1"] == nil {
		t.Errorf("%+v", got)
	}
}

func TestCommand_ListsTheFirstOfMany(t *testing.T) {
	b := startBroker(t, nil)
	text := strings.ReplaceAll(sales(0, 30), "2026-11-23T10:41:00Z", "soon")
	o := run(t, within(t), strings.NewReader(text), with(mapping, "--to", b.address)...)
	if o.code != 3 || strings.Count(o.stdout, "- invalid") != listed || !strings.Contains(o.stdout, "- and 20 more; --rejected FILE writes them all") {
		t.Errorf("exit %d:\n%s", o.code, o.stdout)
	}
}

func TestCommand_GoesOnAfterABrokenStream(t *testing.T) {
	b := startBroker(t, func(batch int) error {
		if batch == 2 || batch == 5 {
			return status.Error(codes.Unavailable, "stopping")
		}
		return nil
	})
	o := run(t, within(t), strings.NewReader(sales(0, 3000)), with(mapping, "--to", b.address, "--json")...)
	got := o.summary(t)
	if o.code != 0 || got.Accepted+got.Duplicates != 3000 || got.Duplicates != got.Resent || len(b.events) != 3000 {
		t.Errorf("exit %d: %v %+v", o.code, o.err, got)
	}
}

func TestCommand_FailsWithAWayOut(t *testing.T) {
	b := startBroker(t, nil)
	file := write(t, "sales.csv", sales(0, 5))
	empty, wrongKey := write(t, "empty.key", "\n"), write(t, "wrong.key", "rs_other_key\n")
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"NoFile":          {[]string{"absent.csv"}, "absent.csv"},
		"Folder":          {[]string{t.TempDir()}, "is a folder"},
		"NoMapping":       {[]string{file}, "no column makes the id"},
		"HalfAMapping":    {[]string{file, "--id", "InvoiceNo"}, "there is no type"},
		"UnknownColumn":   {with(mapping, file, "--id", "Invoice"), `sales.csv: line 1: there is no column "Invoice"`},
		"TypeIf":          {with(mapping, file, "--type-if", "C*"), "write ID=TYPE"},
		"Reference":       {with(mapping, file, "--reference", "{A}"), "write NAME=TEMPLATE"},
		"ReferenceTwice":  {with(mapping, file, "--reference", "invoice={A}"), "each name once"},
		"Delimiter":       {with(mapping, file, "--delimiter", ";;"), "one character"},
		"TimeZone":        {with(mapping, file, "--time-zone", "Jakarta"), "Asia/Jakarta"},
		"NoKeyFile":       {with(mapping, file, "--key-file", "absent.key"), "key can't be read"},
		"EmptyKeyFile":    {with(mapping, file, "--key-file", empty), "holds no key"},
		"LargeKeyFile":    {with(mapping, file, "--key-file", write(t, "large.key", strings.Repeat("k", 5000))), "is no key file"},
		"WrongKey":        {with(mapping, file, "--key-file", wrongKey), "raffsync keys create"},
		"NoCertificate":   {with(mapping, file, "--ca", file), "holds no certificate"},
		"CAAndPlaintext":  {with(mapping, file, "--ca", file, "--allow-plaintext"), "exclude each other"},
		"NoBroker":        {with(mapping, file, "--to", "127.0.0.1:1", "--give-up-after", "10ms"), "check the address"},
		"NoAddress":       {with(mapping, file, "--to", "broker"), "host:port"},
		"RejectedIsInput": {with(mapping, file, "--rejected", file), "is the file that is read"},
		"RejectedNowhere": {with(mapping, file, "--rejected", filepath.Join(file, "x")), "can't be written"},
	} {
		t.Run(name, func(t *testing.T) {
			args := tc.args
			if !strings.Contains(strings.Join(args, " "), "--to") {
				args = with(args, "--to", b.address)
			}
			o := run(t, within(t), nil, args...)
			if o.code != 1 || !strings.Contains(o.err.Error(), tc.want) || strings.Contains(o.err.Error(), "rs_other_key") {
				t.Errorf("exit %d: %v, want %q", o.code, o.err, tc.want)
			}
		})
	}
	if len(b.events) != 0 {
		t.Errorf("%d events were sent all the same", len(b.events))
	}

	t.Run("NoKeyAnywhere", func(t *testing.T) {
		command := parse(t, with(mapping, file)...)
		t.Setenv(keyVariable, "")
		if err := command.Run(within(t)); err == nil || !strings.Contains(err.Error(), "--key-file") {
			t.Errorf("%v", err)
		}
	})

	t.Run("InTheMiddleOfTheFile", func(t *testing.T) {
		text := io.MultiReader(strings.NewReader(`{"id":"1","type":"t","orderingKey":"k"}`+"\n"+`{"id":"2",`), failing{})
		o := run(t, within(t), text, "--to", b.address, "--json")
		got := o.summary(t)
		if o.code != 1 || got.Accepted != 1 || !strings.Contains(o.err.Error(), "line 1: reading failed after this line") || !strings.Contains(o.err.Error(), "run the same command again") {
			t.Errorf("exit %d: %v %+v", o.code, o.err, got)
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// Where no stream opened, more is known of the events than nothing.
func TestCommand_SaysWhatWasNotSent(t *testing.T) {
	b := startBroker(t, nil)
	file, wrongKey := write(t, "sales.csv", sales(0, 2)), write(t, "wrong.key", "rs_other_key\n")
	for name, args := range map[string][]string{
		"WrongKey": {"--to", b.address, "--key-file", wrongKey},
		"NoBroker": {"--to", "127.0.0.1:1", "--give-up-after", "10ms"},
	} {
		t.Run(name, func(t *testing.T) {
			o := run(t, within(t), nil, with(with(mapping, file), args...)...)
			for _, unwanted := range []string{"unacknowledged", "rpc error", "desc ="} {
				if strings.Contains(o.stdout+o.err.Error(), unwanted) {
					t.Errorf("it speaks of %q:\n%s\n%v", unwanted, o.stdout, o.err)
				}
			}
			if o.code != 1 {
				t.Errorf("exit %d: %v", o.code, o.err)
			}
		})
	}
	// How far reading came meanwhile is left to chance above.
	for row, streams := range map[string]uint64{"  not sent                  2   no stream to the broker opened": 0, "  unacknowledged            2   nothing is known of them": 1} {
		var r report
		r.stream(client.Stats{Streams: streams, Unacknowledged: 2})
		var out strings.Builder
		if err := r.summary.print(&out); err != nil || !strings.Contains(out.String(), row) {
			t.Errorf("%v, no %q in\n%s", err, row, out.String())
		}
	}
}

func TestCommand_WarnsOfAFileWithoutLines(t *testing.T) {
	b := startBroker(t, nil)
	for text, want := range map[string]string{header: "no line below the header", "\n\n{": "", "\n{}\n": ""} {
		o := run(t, within(t), strings.NewReader(text), with(mapping, "--to", b.address)...)
		if warned := strings.Contains(o.stdout, "nothing was published"); warned != (want != "") || !strings.Contains(o.stdout, want) || warned && o.code != 0 {
			t.Errorf("%q: exit %d:\n%s", text, o.code, o.stdout)
		}
	}
	if o := run(t, within(t), strings.NewReader("\n\n"), "--format", "jsonl", "--to", b.address, "--json"); o.code != 0 || o.summary(t).Warning != "there is no event in the file: nothing was published" {
		t.Errorf("exit %d: %s", o.code, o.stdout)
	}
}

func TestSummary_Refusal(t *testing.T) {
	for want, s := range map[string]summary{
		"1 event is invalid: correct it and publish it again":                                                                                                           {Invalid: 1},
		"1,200 events are invalid: correct them and publish them again":                                                                                                 {Invalid: 1200},
		"1 event is in conflict with what is known under its id: a person decides, do not publish it again":                                                             {Conflicts: 1},
		"2 events are in conflict with what is known under their ids: a person decides, do not publish them again":                                                      {Conflicts: 2},
		"1 event is invalid: correct it and publish it again; 2 events are in conflict with what is known under their ids: a person decides, do not publish them again": {Invalid: 1, Conflicts: 2},
	} {
		if got := s.refusal(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCommand_Interrupted(t *testing.T) {
	t.Run("WaitsForDueAcknowledgements", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(within(t))
		b := startBroker(t, func(batch int) error {
			if batch == 1 {
				interrupt() // while the batch is on its way
			}
			return nil
		})
		input, typing := io.Pipe() // stays open, like a terminal
		defer typing.Close()
		go func() {
			// The pipe is closed at the end of the test: the error is of no interest.
			_, _ = io.WriteString(typing, `{"id":"1","type":"t","orderingKey":"k"}`+"\n")
		}()
		o := run(t, ctx, input, "--to", b.address, "--json", "--format", "jsonl")
		got := o.summary(t)
		if o.code != 1 || !got.Interrupted || got.Accepted != 1 || got.Unacknowledged != 0 || !strings.Contains(o.err.Error(), "run the same command again") {
			t.Errorf("exit %d: %v %+v", o.code, o.err, got)
		}
	})

	t.Run("SaysWhatIsUnacknowledged", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(within(t))
		hold := make(chan struct{})
		b := startBroker(t, func(int) error { interrupt(); <-hold; return status.Error(codes.Unavailable, "gone") })
		defer close(hold)
		file := write(t, "sales.csv", sales(0, 10))
		o := run(t, ctx, nil, with(mapping, file, "--to", b.address, "--json", "--grace", "10ms")...)
		got := o.summary(t)
		if o.code != 1 || !got.Interrupted || got.Accepted != 0 || got.Unacknowledged == 0 || !strings.Contains(got.Error, "0 events are acknowledged") {
			t.Errorf("exit %d: %v %+v", o.code, o.err, got)
		}
	})

	t.Run("DryRun", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(within(t))
		input, typing := io.Pipe()
		defer typing.Close()
		interrupt()
		if o := run(t, ctx, input, "--dry-run", "--format", "jsonl"); o.code != 1 || !errors.Is(o.err, errInterrupted) {
			t.Errorf("exit %d: %v", o.code, o.err)
		}
	})
}

func TestCommand_DryRun(t *testing.T) {
	text := sales(0, 3) + "C9,-1,2025-01-01T00:00:00Z,1.00,,Mall\n" + "bad,1,2026-11-23T10:41:00Z,1.00,9," + strings.Repeat("x", 121) + "\n"
	o := run(t, within(t), strings.NewReader(text), with(mapping, "--dry-run")...)
	if o.code != 3 {
		t.Errorf("exit %d: %v", o.code, o.err)
	}
	for _, want := range []string{
		"5 events of 8 lines read from standard input; nothing was sent\n", "invoice.cancelled                         1\n", "invoice.issued                            4\n",
		"from 2025-01-01T00:00:00Z to 2026-11-23T10:41:00Z\n", "  ordering key   customer/0\n", "  references     customer=0 invoice=0\n", `  data           {"InvoiceNo":"0","InvoiceDate"`,
		`- invalid "bad": outlet `,
	} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
	if strings.Contains(o.stdout, "accepted") {
		t.Errorf("it speaks of acceptance:\n%s", o.stdout)
	}
	asJSON := run(t, within(t), strings.NewReader(text), with(mapping, "--dry-run", "--json")...).summary(t)
	if !asJSON.DryRun || asJSON.Events != 5 || asJSON.Invalid != 1 || asJSON.Lines != 8 {
		t.Errorf("%+v", asJSON)
	}
}

// Whatever the broker would call invalid, a dry run does too.
func TestCommand_DryRunFindsWhatTheBrokerWould(t *testing.T) {
	sound := map[string]any{"id": "1", "type": "order.created", "orderingKey": "order/1", "textData": `{"total":100}`}
	many := map[string]string{}
	for _, c := range "abcdefghijklmnopq" {
		many[string(c)] = "x"
	}
	for name, tc := range map[string]struct {
		change map[string]any
		want   string // "" for a sound event
	}{
		"Sound":                {nil, ""},
		"BinaryJSON":           {map[string]any{"textData": nil, "binaryData": []byte("[1]")}, ""},
		"NotJSON":              {map[string]any{"textData": `{"total":}`}, "text_data must be JSON, or content_type must say what it is: it is malformed at byte 10"},
		"TwoValues":            {map[string]any{"textData": `1 2`}, "text_data must be JSON"},
		"JSONThatIsNotUTF8":    {map[string]any{"textData": nil, "binaryData": []byte("\"\xff\"")}, "binary_data must be UTF-8"},
		"TextThatIsNotUTF8":    {map[string]any{"textData": nil, "binaryData": []byte("caf\xe9"), "contentType": "text/plain"}, "binary_data must be UTF-8"},
		"DeclaredJSONAndEmpty": {map[string]any{"textData": "", "contentType": "application/json"}, "it is empty"},
		"DeclaredAndAbsent":    {map[string]any{"textData": nil, "contentType": "text/plain"}, "data must be set where content_type is"},
		"ContentType":          {map[string]any{"contentType": "json"}, "content_type must be a media type"},
		"Type":                 {map[string]any{"type": "Order.Created"}, "type must be lower-case words joined by dots, such as order.created"},
		"ControlCharacter":     {map[string]any{"outlet": "a\u0085"}, "outlet must not hold control characters"},
		"ManyReferences":       {map[string]any{"references": many}, "references must have at most 16 entries, has 17"},
	} {
		t.Run(name, func(t *testing.T) {
			event := maps.Clone(sound)
			maps.Copy(event, tc.change)
			line, err := json.Marshal(event)
			if err != nil {
				t.Fatal(err)
			}
			o := run(t, within(t), bytes.NewReader(line), "--dry-run", "--json")
			got := o.summary(t)
			if tc.want == "" {
				if o.code != 0 || got.Invalid != 0 {
					t.Errorf("exit %d: %v %+v", o.code, o.err, got)
				}
				return
			}
			if o.code != 3 || got.Invalid != 1 || !strings.Contains(got.Refused[0].String(), tc.want) {
				t.Errorf("exit %d: %v %+v, want %q", o.code, o.err, got.Refused, tc.want)
			}
		})
	}
}

func TestCommand_Help(t *testing.T) {
	var command Command
	var out bytes.Buffer
	parser, err := kong.New(&command, kong.Name("publish"), kong.Writers(&out, &out), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = parser.Parse([]string{"--help"}) // Exit does nothing here, so parsing goes on and fails
	for _, want := range []string{"--type-if", "--id InvoiceNo", "Default: 127.0.0.1:9090", "Exit status"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
