package filesource_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"raffsync/connectors/filesource"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const header = "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

// invoices is the mapping that the tests share.
func invoices(text string) filesource.Config {
	return filesource.Config{
		Input: strings.NewReader(text), ID: "InvoiceNo",
		Type: "invoice.issued", TypeIf: []filesource.TypeRule{{ID: "C*", Type: "invoice.cancelled"}},
		OrderingKey: "customer/{CustomerID}|invoice/{InvoiceNo}", Time: "InvoiceDate", Outlet: "Country",
		References: map[string]string{"invoice": "{InvoiceNo}", "customer": "{CustomerID}"},
	}
}

// read gives all events and errors, in their order apart.
func read(t testing.TB, cfg filesource.Config) (events []*raffsyncv1.Event, problems []error) {
	t.Helper()
	r, err := filesource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for event, err := range r.Events() {
		if (event == nil) == (err == nil) {
			t.Fatalf("event %v with error %v", event, err)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		events = append(events, event)
	}
	return events, problems
}

func zipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const shop = header +
	"536365,85123A,6,2010-12-01T08:26:00Z,2.50,17850,United Kingdom\n" +
	"C536379,D,-1,2010-12-01T09:41:00Z,27.50,14527,United Kingdom\n" +
	"536365,71053,8,2010-12-01T08:27:00Z,3.390,17850,United Kingdom\n" +
	"A563185,B,1,2011-08-12T14:50:00Z,11062.06,,\n"

func wantShop() []*raffsyncv1.Event {
	at := func(text string) *timestamppb.Timestamp {
		v, err := time.Parse(time.RFC3339, text)
		if err != nil {
			panic(err)
		}
		return timestamppb.New(v)
	}
	data := func(text string) *raffsyncv1.Event_BinaryData {
		return &raffsyncv1.Event_BinaryData{BinaryData: []byte(text)}
	}
	return []*raffsyncv1.Event{
		{
			Id: "536365", Type: "invoice.issued", OrderingKey: "customer/17850", OccurredAt: at("2010-12-01T08:26:00Z"),
			Outlet: "United Kingdom", References: map[string]string{"invoice": "536365", "customer": "17850"},
			Data: data(`{"InvoiceNo":"536365","InvoiceDate":"2010-12-01T08:26:00Z","CustomerID":"17850","Country":"United Kingdom","lines":[` +
				`{"InvoiceNo":"536365","StockCode":"85123A","Quantity":"6","InvoiceDate":"2010-12-01T08:26:00Z","UnitPrice":"2.50","CustomerID":"17850","Country":"United Kingdom"},` +
				`{"InvoiceNo":"536365","StockCode":"71053","Quantity":"8","InvoiceDate":"2010-12-01T08:27:00Z","UnitPrice":"3.390","CustomerID":"17850","Country":"United Kingdom"}]}`),
		},
		{
			Id: "C536379", Type: "invoice.cancelled", OrderingKey: "customer/14527", OccurredAt: at("2010-12-01T09:41:00Z"),
			Outlet: "United Kingdom", References: map[string]string{"invoice": "C536379", "customer": "14527"},
			Data: data(`{"InvoiceNo":"C536379","InvoiceDate":"2010-12-01T09:41:00Z","CustomerID":"14527","Country":"United Kingdom","lines":[` +
				`{"InvoiceNo":"C536379","StockCode":"D","Quantity":"-1","InvoiceDate":"2010-12-01T09:41:00Z","UnitPrice":"27.50","CustomerID":"14527","Country":"United Kingdom"}]}`),
		},
		{
			Id: "A563185", Type: "invoice.issued", OrderingKey: "invoice/A563185", OccurredAt: at("2011-08-12T14:50:00Z"),
			References: map[string]string{"invoice": "A563185"},
			Data: data(`{"InvoiceNo":"A563185","InvoiceDate":"2011-08-12T14:50:00Z","CustomerID":"","Country":"","lines":[` +
				`{"InvoiceNo":"A563185","StockCode":"B","Quantity":"1","InvoiceDate":"2011-08-12T14:50:00Z","UnitPrice":"11062.06","CustomerID":"","Country":""}]}`),
		},
	}
}

func TestReader_CSV(t *testing.T) {
	for name, text := range map[string]string{
		"Plain":          shop,
		"GZIP":           zipped(t, shop),
		"ByteOrderMark":  "\xef\xbb\xbf" + shop,
		"CRLF":           strings.ReplaceAll(shop, "\n", "\r\n"),
		"NoLastLineEnd":  strings.TrimSuffix(shop, "\n"),
		"EmptyLines":     strings.ReplaceAll(shop, "\n", "\n\n"),
		"EverythingSo":   zipped(t, "\xef\xbb\xbf"+strings.ReplaceAll(strings.TrimSuffix(shop, "\n"), "\n", "\r\n")),
		"QuotedHeader":   strings.Replace(shop, "InvoiceNo", `"InvoiceNo"`, 1),
		"NamedComma":     "sep=;\r\n" + strings.ReplaceAll(shop, ",", ";"),
		"TwoGZIPMembers": zipped(t, shop[:100]) + zipped(t, shop[100:]),
	} {
		t.Run(name, func(t *testing.T) {
			for how, wrap := range map[string]func(string) filesource.Config{
				"AtOnce": invoices,
				"ByteByByte": func(text string) filesource.Config {
					cfg := invoices(text)
					cfg.Input = iotest.OneByteReader(strings.NewReader(text))
					return cfg
				},
			} {
				events, problems := read(t, wrap(text))
				if len(problems) > 0 {
					t.Fatalf("%s: %v", how, problems)
				}
				if diff := cmp.Diff(wantShop(), events, protocmp.Transform()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", how, diff)
				}
			}
		})
	}

	t.Run("AColumnInBrackets", func(t *testing.T) { // is no JSON array
		events, problems := read(t, filesource.Config{Input: strings.NewReader("[id],name\n1,x\n"), ID: "[id]", Type: "t", OrderingKey: "k"})
		if len(problems) > 0 || len(events) != 1 || events[0].Id != "1" {
			t.Error(events, problems)
		}
	})

	t.Run("OtherCommaAndTimes", func(t *testing.T) {
		jakarta := time.FixedZone("WIB", 7*3600)
		events, problems := read(t, filesource.Config{
			Input: strings.NewReader("no;at;note\n7;23/11/2026 10:41;\"a, b; \"\"c\"\"\tü\"\n"), Comma: ';',
			ID: "sale/{no}", Type: "sale", OrderingKey: "sale/{no}", Time: "at", TimeFormat: "02/01/2006 15:04", TimeZone: jakarta,
			Payload: []string{"note"},
		})
		if len(problems) > 0 || len(events) != 1 {
			t.Fatal(events, problems)
		}
		want := &raffsyncv1.Event{
			Id: "sale/7", Type: "sale", OrderingKey: "sale/7", OccurredAt: timestamppb.New(time.Date(2026, 11, 23, 3, 41, 0, 0, time.UTC)),
			Data: &raffsyncv1.Event_BinaryData{BinaryData: []byte(`{"no":"7","at":"23/11/2026 10:41","lines":[{"note":"a, b; \"c\"\tü"}]}`)},
		}
		if diff := cmp.Diff(want, events[0], protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("Progress", func(t *testing.T) {
		r, err := filesource.New(invoices(shop))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Progress(); got != (filesource.Progress{Total: -1}) {
			t.Errorf("before: %+v", got)
		}
		for range r.Events() {
			break
		}
		if got := r.Progress(); got != (filesource.Progress{Lines: 4, Events: 1, Total: 3}) {
			t.Errorf("after the first: %+v", got)
		}
		for _, err := range r.Events() {
			if err == nil {
				t.Error("it reads twice")
			}
		}
	})
}

// A file that is wrong yields this one error and no event.
func TestReader_RefusesTheFile(t *testing.T) {
	one := "1,A,1,2026-11-23T10:41:00Z,1.00,9,Mall\n"
	small := func(cfg filesource.Config) filesource.Config { cfg.MaxBytes = 100; return cfg }
	for name, tc := range map[string]struct {
		text   string
		change func(filesource.Config) filesource.Config
		line   int
		want   string
	}{
		"Empty":           {"", nil, 0, "empty"},
		"OnlyAMark":       {"\xef\xbb\xbf", nil, 0, "empty"},
		"UnclosedQuote":   {header + one + "\"2,A\n" + one, nil, 3, "quoted field is not closed"},
		"QuoteGoesOn":     {header + one + "\"2\"x,A\n" + one, nil, 3, "line 3, column 3"},
		"BareQuote":       {header + "2,A \"x\",1,,,,\n", nil, 2, "inside a field without quotes"},
		"TooFewFields":    {header + one + one + "2,A,1\n", nil, 4, "3 fields and the header 7"},
		"TooManyFields":   {header + "2,A,1,,,,,,\n", nil, 2, "9 fields and the header 7"},
		"EmptyID":         {header + one + ",A,1,2026-11-23T10:41:00Z,1.00,9,Mall\n", nil, 3, "the id is empty (InvoiceNo)"},
		"MissingColumn":   {strings.Replace(header, "CustomerID", "Customer", 1) + one, nil, 1, `no column "CustomerID", which makes the ordering key; the header has "InvoiceNo"`},
		"OtherComma":      {strings.ReplaceAll(header+one, ",", ";"), nil, 1, `parted by ";"`},
		"ColumnTwice":     {strings.Replace(header, "Country", "Quantity", 1) + one, nil, 1, `columns 3 and 7 are both named "Quantity"`},
		"ColumnNoName":    {strings.Replace(header, "Country", "", 1) + one, nil, 1, "column 7 has no name"},
		"CROnly":          {strings.ReplaceAll(header+one, "\n", "\r"), nil, 1, "lines end with CR only"},
		"CROnlyQuoted":    {"\"InvoiceNo\",\"Country\"\r\"1\",\"Mall\"\r", nil, 1, "save the file with LF or CRLF"},
		"CRAndThenLF":     {strings.ReplaceAll(header+one, "\n", "\r") + one, nil, 1, "column 7, \"Country\\r1\", holds a line break"},
		"BreakInAName":    {strings.Replace(header, "Country", "\"Coun\ntry\"", 1) + one, nil, 1, "holds a line break: rename it"},
		"JSONArray":       {"[\n {\"InvoiceNo\": 1}]\n", nil, 0, "`jq -c '.[]'`"},
		"NoLineIsID":      {"sep=;\n" + strings.ReplaceAll(header, ",", ";") + ";A;1;;;;\n", nil, 3, "the id is empty"},
		"NamedComma":      {"sep=;\n" + strings.ReplaceAll(strings.Replace(header, "CustomerID", "Customer", 1), ",", ";"), nil, 2, `no column "CustomerID"`},
		"UTF16":           {"\xff\xfeI\x00", nil, 1, "UTF-16"},
		"Spreadsheet":     {"PK\x03\x04...", nil, 0, "spreadsheet"},
		"TruncatedGZIP":   {zipped(t, header+strings.Repeat(one, 9999))[:200], nil, -1, "ends too early after this line"},
		"TinyGZIP":        {"\x1f\x8b\x08", nil, 0, "ends too early"},
		"DamagedGZIP":     {zipped(t, shop)[:60] + strings.Repeat("\xff", 80), nil, -1, "damaged"},
		"GZIPAndRubbish":  {zipped(t, shop) + "rubbish of some length", nil, 5, "damaged"},
		"TooLarge":        {shop, small, 1, "more than 100 bytes"},
		"PayloadNotThere": {shop, func(c filesource.Config) filesource.Config { c.Payload = []string{"Colour"}; return c }, 1, `no column "Colour", which makes the payload`},
		"ColumnLines": {"lines\n1\n", func(c filesource.Config) filesource.Config {
			return filesource.Config{Input: c.Input, ID: "lines", Type: "t", OrderingKey: "k"}
		}, 1, "rename the column"},
		"NoID": {shop, func(c filesource.Config) filesource.Config { return filesource.Config{Input: c.Input} }, 0, "no column makes the id"},
		"InputFails": {shop, func(c filesource.Config) filesource.Config {
			c.Input = iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(shop)))
			return c
		}, 0, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := invoices(tc.text)
			if tc.change != nil {
				cfg = tc.change(cfg)
			}
			events, problems := read(t, cfg)
			var refused *filesource.InputError
			if len(events) != 0 || len(problems) != 1 || !errors.As(problems[0], &refused) {
				t.Fatalf("%d events, %v", len(events), problems)
			}
			if !strings.Contains(refused.Error(), tc.want) || tc.line >= 0 && refused.Line != tc.line {
				t.Errorf("line %d: %v\nwant line %d: %q", refused.Line, refused, tc.line, tc.want)
			}
			t.Log(refused)
		})
	}
}

// An event that is wrong yields an error with all its lines, and the others go on.
func TestReader_RefusesTheEvent(t *testing.T) {
	good := "1,A,1,2026-11-23T10:41:00Z,1.00,9,Mall\n"
	for name, tc := range map[string]struct {
		lines  string
		change func(*filesource.Config)
		want   string
	}{
		"NotUTF8":        {"2,A,1,2026-11-23T10:41:00Z,1.00,9,Mall\n" + good + "2,Caf\xe9,1,2026-11-23T10:41:00Z,1.00,9,Mall\n", nil, `column "StockCode" of line 4 is not UTF-8`},
		"NotUTF8InIDs":   {"2\xff,A,1,2026-11-23T10:41:00Z,1.00,9,Mall\n" + good, nil, `column "InvoiceNo" of line 2`},
		"NoTime":         {"2,A,1,,1.00,9,Mall\n" + good, nil, "InvoiceDate is empty"},
		"OtherTime":      {"2,A,1,23.11.2026,1.00,9,Mall\n" + good, nil, `"23.11.2026" in InvoiceDate is no time of the form "2006-01-02T15:04:05Z07:00"`},
		"NoOrderingKey":  {"2,A,1,2026-11-23T10:41:00Z,1.00,,Mall\n" + good, func(c *filesource.Config) { c.OrderingKey = "customer/{CustomerID}" }, "ordering key has an empty column"},
		"NoType":         {"2,,1,2026-11-23T10:41:00Z,1.00,9,Mall\n" + good, func(c *filesource.Config) { c.Type = "{StockCode}" }, "column of the type is empty"},
		"TooLarge":       {"2,A,1,2026-11-23T10:41:00Z,1.00,9,Mall\n" + good + strings.Repeat("2,A,1,2026-11-23T10:41:00Z,1.00,9,Mall\n", 10), func(c *filesource.Config) { c.MaxEventBytes = 600 }, "more than 600 bytes"},
		"TooLargeAtOnce": {"2," + strings.Repeat("A", 600) + ",1,2026-11-23T10:41:00Z,1.00,9,Mall\n" + good, func(c *filesource.Config) { c.MaxEventBytes = 600 }, "its lines, 1 of them"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := invoices(header + tc.lines)
			if tc.change != nil {
				tc.change(&cfg)
			}
			events, problems := read(t, cfg)
			var refused *filesource.EventError
			if len(events) != 1 || events[0].Id != "1" || len(problems) != 1 || !errors.As(problems[0], &refused) {
				t.Fatalf("%d events, %v", len(events), problems)
			}
			if !strings.Contains(refused.Problem, tc.want) || len(refused.Lines) != strings.Count(tc.lines, "\n")-1 || refused.Lines[0] != 2 {
				t.Errorf("%v %v, want %q", refused.Lines, refused, tc.want)
			}
			t.Log(refused)
		})
	}
}

func TestNew_Refuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*filesource.Config)
		want   string
	}{
		"NoInput":         {func(c *filesource.Config) { c.Input = nil }, "no input"},
		"UnknownFormat":   {func(c *filesource.Config) { c.Format = "xml" }, `"xml"`},
		"NoID":            {func(c *filesource.Config) { c.ID = "" }, "no column makes the id"},
		"NoType":          {func(c *filesource.Config) { c.Type = "" }, "there is no type"},
		"NoOrderingKey":   {func(c *filesource.Config) { c.OrderingKey = "" }, "no ordering key"},
		"Comma":           {func(c *filesource.Config) { c.Comma = '"' }, "can't part fields"},
		"OpenBrace":       {func(c *filesource.Config) { c.OrderingKey = "a/{B" }, `ordering key: "a/{B"`},
		"CloseBrace":      {func(c *filesource.Config) { c.OrderingKey = "a/B}" }, "without a"},
		"EmptyColumn":     {func(c *filesource.Config) { c.ID = "{}" }, "id: "},
		"NestedBrace":     {func(c *filesource.Config) { c.Outlet = "{a{b}}" }, "outlet: "},
		"NoAlternative":   {func(c *filesource.Config) { c.OrderingKey = "a/{B}|" }, "empty alternative"},
		"Reference":       {func(c *filesource.Config) { c.References = map[string]string{"": "{A}"} }, "NAME={Column}"},
		"EmptyRule":       {func(c *filesource.Config) { c.TypeIf = []filesource.TypeRule{{ID: "C*"}} }, "rule for types"},
		"FormatOfNoTime":  {func(c *filesource.Config) { c.Time, c.TimeFormat = "", "2006" }, "column of the time"},
		"NegativeMaximum": {func(c *filesource.Config) { c.MaxBytes = -1 }, "negative"},
		"ManyReferences": {func(c *filesource.Config) {
			for i := range 17 {
				c.References[strings.Repeat("r", i+1)] = "{A}"
			}
		}, "references: an event takes 16"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := invoices(shop)
			tc.change(&cfg)
			if _, err := filesource.New(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
