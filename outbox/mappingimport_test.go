package outbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

func importing(id string, table outbox.MappingTable, file string) outbox.ImportMappings {
	return outbox.ImportMappings{MappingRequest: mappingRequest(id), Table: table, Source: strings.NewReader(file)}
}

func (s *shop) export(table outbox.MappingTable) string {
	s.t.Helper()
	var b bytes.Buffer
	if _, err := s.ExportMappings(s.t.Context(), "kopi", table, &b); err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

func TestStore_ImportMappings(t *testing.T) {
	t.Parallel()
	fresh := newShop(t, "books", "stock")
	ctx := t.Context()

	t.Run("TakesFilesAsTheyCome", func(t *testing.T) {
		for name, file := range map[string]string{
			"Plain":            "value,target\nA,1\nb c,2 \n",
			"NoLastLineBreak":  "value,target\nA,1\nb c,2 ",
			"CRLF":             "value,target\r\nA,1\r\nb c,2 \r\n",
			"ByteOrderMark":    "\uFEFFvalue,target\nA,1\nb c,2 \n",
			"Quoted":           "\"value\",\"target\"\n\"A\",\"1\"\n\"b c\",\"2 \"\n",
			"Semicolons":       "value;target\nA;1\nb c;2 \n",
			"Tabs":             "value\ttarget\nA\t1\nb c\t2 \n",
			"OtherOrder":       "Target, Value\n1,A\n2 ,b c\n",
			"BlankLines":       "\nvalue,target\n\nA,1\n\n\nb c,2 \n\n",
			"Repeated":         "value,target\nA,1\nb c,2 \nA,1\n",
			"ColumnTable":      "table,value,target\nsku,A,1\nsku,b c,2 \n",
			"ColumnOfBoth":     "table,destination,value,target\nsku,stock,A,1\nsku,stock,b c,2 \n",
			"QuotedLineBreaks": "value,target\nA,1\n\"b c\",\"2 \"\r\n",
		} {
			t.Run(name, func(t *testing.T) {
				s := fresh.emptied(t)
				q := importing("1", skuOfStock, file)
				if strings.Contains(file, "table,") {
					q.Table.Name = ""
				}
				if strings.Contains(file, "destination,") {
					q.Table.Destination = ""
				}
				q.Source = iotest.OneByteReader(q.Source)
				done, err := s.ImportMappings(ctx, clerk, q)
				if got := changed(done); err != nil || got != "v1 +2 ~0 -0 =0" {
					t.Fatalf("%s, %v", got, err)
				}
				if got := s.export(skuOfStock); got != "value,target\nA,1\nb c,2 \n" {
					t.Errorf("stored: %q", got)
				}
				if repeated := strings.Count(file, "A,1") - 1; name == "Repeated" && done.Repeated != repeated {
					t.Errorf("%d counted as repeated, want %d", done.Repeated, repeated)
				}
			})
		}
	})

	t.Run("RefusesAndStoresNothing", func(t *testing.T) {
		s := fresh.emptied(t)
		long := strings.Repeat("x", 600)
		for name, c := range map[string]struct{ file, field, words string }{
			"Empty":           {"", "text", "the file is empty"},
			"OnlyBlankLines":  {"\n\n\n", "text", "the file is empty"},
			"OnlyTheHeader":   {"value,target\n", "text", "no rows"},
			"NoHeader":        {"A,1\nB,2\n", "text", `line 1: there is no use for a column "A"`},
			"ColumnTwice":     {"value,target,value\nA,1,B\n", "text", `two columns are named "value"`},
			"NoTarget":        {"value\nA\n", "text", "columns value and target are needed"},
			"UnknownColumn":   {"value,target,note\nA,1,x\n", "text", `no use for a column "note"`},
			"TooFewFields":    {"value,target\nA,1\nB\n", "text", "line 3: has 1 fields, and the first line 2"},
			"TooManyFields":   {"value,target\nA,1,2\n", "text", "line 2: has 3 fields"},
			"EmptyValue":      {"value,target\nA,1\n,2\n", "text", "line 3: the value is empty; correct the line, or take it out"},
			"EmptyTarget":     {"value,target\nA,\n", "text", "line 2: the target is empty"},
			"LongValue":       {"value,target\n" + long + ",1\n", "text", "line 2: the value has 600 bytes, and may have 500"},
			"NotUTF8":         {"value,target\nA\xe9,1\n", "text", "line 2: the value \"A\\xe9\" is not UTF-8"},
			"UTF16":           {"\xff\xfev\x00a\x00", "text", "save it as UTF-8"},
			"NUL":             {"value,target\nA\x00,1\n", "text", "U+0000"},
			"QuoteNotClosed":  {"value,target\nA,1\n\"B,2\nC,3\n", "text", "line 3: a quote is opened here and never closed"},
			"QuoteTooLong":    {"value,target\n\"B,2\n" + strings.Repeat("C,3\n", 1000), "text", "line 2: a field is longer than 500 bytes; is a quote missing its end?"},
			"QuoteInside":     {"value,target\n5\" pipe,1\n", "text", "line 2: a quote stands in the middle"},
			"BehindTheQuote":  {"value,target\n\"A\"B,1\n", "text", "line 2: something follows a closing quote"},
			"OldMac":          {"value,target\rA,1\rB,2\r", "text", "CR only"},
			"TwoTargets":      {"value,target\nA,1\nB,1\nA,2\nA,1\n", "text", `lines 2, 4 and 5 give "A" different targets ("1", "2"); keep one of them`},
			"SeveralAtOnce":   {"value,target\n,1\nB,\nC,3\nD\n", "text", "line 2: the value is empty; correct the line, or take it out\nline 3: the target is empty; correct the line, or take it out\nline 5: has 1 fields"},
			"NoSuchTable":     {"table,value,target\nSKU!,A,1\n", "table", "leave the table out"},
			"OfADestination":  {"destination,value,target\nstock,A,1\n", "destination", "leave the destination out"},
			"LineAfterBreaks": {"value,target\n\"A\nB\",1\r\n,2\n", "text", "line 4: the value is empty"},
		} {
			t.Run(name, func(t *testing.T) {
				wantRefusal(t, c.field, c.words)(s.ImportMappings(ctx, clerk, importing("1", skuOfStock, c.file)))
			})
		}
		wantRefusal(t, "table", "name the table")(s.ImportMappings(ctx, clerk, importing("1", outbox.MappingTable{Destination: "stock"}, "value,target\nA,1\n")))
		wantRefusal(t, "destination", `no destination "stok"`)(s.ImportMappings(ctx, clerk, importing("1", outbox.MappingTable{Name: "sku", Destination: "stok"}, "value,target\nA,1\n")))
		wantRefusal(t, "text", `line 3: there is no destination "stok"`)(s.ImportMappings(ctx, clerk, importing("1", sharedSKU, "destination,value,target\nstock,A,1\nstok,A,1\n")))
		wantRefusal(t, "text", `line 2: "SKU!" cannot name a table`)(s.ImportMappings(ctx, clerk, importing("1", outbox.MappingTable{Destination: "stock"}, "table,value,target\nSKU!,A,1\n")))
		var many strings.Builder
		many.WriteString("value,target\n")
		for range 50 {
			many.WriteString(",1\n")
		}
		wantRefusal(t, "text", "line 11: the value is empty; correct the line, or take it out\nperhaps more behind these")(s.ImportMappings(ctx, clerk, importing("1", skuOfStock, many.String())))
		broken := errors.New("the disk is gone")
		q := importing("1", skuOfStock, "")
		q.Source = io.MultiReader(strings.NewReader("value,target\nA,1\n"), iotest.ErrReader(broken))
		if _, err := s.ImportMappings(ctx, clerk, q); !errors.Is(err, broken) {
			t.Errorf("a file that cannot be read: %v", err)
		}
		if n := one[int](s, `SELECT count(*) FROM mapping_entries`) + one[int](s, `SELECT count(*) FROM operator_requests`) + one[int](s, `SELECT count(*) FROM mapping_versions`); n != 0 {
			t.Errorf("%d rows are stored", n)
		}
	})

	t.Run("RehearsesWhatItThenDoes", func(t *testing.T) {
		s := fresh.emptied(t)
		wantChange(t, "v1 +4 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("1", skuOfStock, "A=1", "B=2", "C=3", "D=4")))
		wantChange(t, "v2 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("2", sharedSKU, "A=1")))
		wantChange(t, "v3 +1 ~0 -0 =0")(s.SetMappingDefault(ctx, clerk, defaulting("3", skuOfStock, "MISC")))
		const file = "value,target\nE,5\nB,9\nA,1\n"
		for _, replace := range []bool{false, true} {
			var told []string
			q := importing("", skuOfStock, file)
			q.Reason, q.Replace = "", replace
			done, err := s.RehearseImport(ctx, clerk, q, func(d outbox.MappingDifference) error {
				told = append(told, fmt.Sprintf("%s %s:%s>%s", d.Table, d.Value, d.From, d.To))
				return nil
			})
			want := []string{"table sku of stock B:2>9", "table sku of stock E:>5"}
			counts := "v3 +1 ~1 -0 =1"
			if replace {
				want = []string{"table sku of stock B:2>9", "table sku of stock C:3>", "table sku of stock D:4>", "table sku of stock E:>5"}
				counts = "v3 +1 ~1 -2 =1"
			}
			if diff := cmp.Diff(want, told); err != nil || diff != "" || changed(done) != counts {
				t.Errorf("replace %t: %s, %v (-want +told):\n%s", replace, changed(done), err, diff)
			}
		}
		if v := one[int](s, `SELECT version FROM mapping_versions`); v != 3 {
			t.Errorf("a rehearsal has made version %d", v)
		}
		q := importing("4", skuOfStock, file)
		q.Replace = true
		wantChange(t, "v4 +1 ~1 -2 =1")(s.ImportMappings(ctx, clerk, q))
		q.Source = strings.NewReader(file)
		wantChange(t, "v4 +1 ~1 -2 =1")(s.ImportMappings(ctx, clerk, q)) // the first answer
		q.Source = strings.NewReader(file + "F,6\n")
		wantRefusal(t, "requestId", "choose a new one")(s.ImportMappings(ctx, clerk, q))
		if got, want := s.export(outbox.MappingTable{}), "table,destination,value,target\nsku,\"\",A,1\nsku,stock,A,1\nsku,stock,B,9\nsku,stock,E,5\n"; got != want {
			t.Errorf("stored: %q\nwant:   %q", got, want)
		}
		if n := one[int](s, `SELECT count(*) FROM mapping_entries WHERE value = '' AND target = 'MISC'`); n != 1 {
			t.Error("the default is gone")
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'mapping'`); n != 4 {
			t.Errorf("%d timeline entries of 4 changes", n)
		}
		// Of several tables: only those that the file is of are replaced.
		several := importing("5", outbox.MappingTable{}, "table,destination,value,target\nsku,,A,1\ntax,books,VAT,T1\n")
		several.Replace = true
		wantChange(t, "v5 +1 ~0 -0 =1")(s.ImportMappings(ctx, clerk, several))
		if got := one[string](s, `SELECT detail::text FROM timeline WHERE what = 'mapping' ORDER BY entry DESC LIMIT 1`); !strings.Contains(got, `"table": "tax"`) {
			t.Errorf("the timeline says %s", got)
		}
	})

	t.Run("TakesBackWhatItExports", func(t *testing.T) {
		s := fresh.emptied(t)
		q := setting("1", skuOfStock)
		for _, value := range []string{" ", "a,b", `"`, `a"b`, "a\nb", "a\r\nb", "\r", "a;b", "\tx", "\uFEFFx", "é", "値", "ẞ", "=1+1", "'", `\`, "value", strings.Repeat("z", 500), "A", "a", "\x01"} {
			q.Entries = append(q.Entries, outbox.MappingPair{Value: value, Target: value})
		}
		if _, err := s.SetMappings(ctx, clerk, q); err != nil {
			t.Fatal(err)
		}
		before, all := s.mapped(), s.export(outbox.MappingTable{})
		for name, file := range map[string]string{"one": s.export(skuOfStock), "all": all} {
			table := skuOfStock
			if name == "all" {
				table = outbox.MappingTable{}
			}
			q := importing(name, table, file)
			q.Replace = true
			done, err := s.ImportMappings(ctx, clerk, q)
			if err != nil || done.Added+done.Changed+done.Removed != 0 || done.Unchanged == 0 {
				t.Errorf("%s: %+v, %v", name, done, err)
			}
		}
		if _, err := s.RemoveMappings(ctx, clerk, outbox.RemoveMappings{MappingRequest: mappingRequest("3"), Table: skuOfStock, All: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ImportMappings(ctx, clerk, importing("4", outbox.MappingTable{}, all)); err != nil {
			t.Fatal(err)
		}
		unversioned := func(s string) string { return strings.NewReplacer("v1", "v", "v2", "v", "v3", "v").Replace(s) }
		if diff := cmp.Diff(unversioned(before), unversioned(s.mapped())); diff != "" {
			t.Error(diff)
		}
		if _, err := s.ExportMappings(ctx, "kopi", outbox.MappingTable{Name: "skus", Destination: "stock"}, io.Discard); !errors.Is(err, outbox.ErrNotFound) {
			t.Errorf("a table that is not there: %v", err)
		}
		if _, err := s.ExportMappings(ctx, "kopi", outbox.MappingTable{Name: "sku", Destination: "shelf"}, io.Discard); !errors.Is(err, outbox.ErrNotFound) {
			t.Errorf("a destination that is not there: %v", err)
		}
	})

	t.Run("RefusesMoreThanThereMayBe", func(t *testing.T) {
		s := fresh.emptied(t)
		s.exec(`INSERT INTO mapping_tables (tenant, name, destination, entries, version) VALUES ('kopi', 'large', 0, $1, 1)`, outbox.MaxMappingEntries-1)
		wantChange(t, "v1 +1 ~0 -0 =0")(s.ImportMappings(ctx, clerk, importing("1", skuOfStock, "value,target\nA,1\n")))
		wantRefusal(t, "text", "would make 500001 entries in 2 tables, and a tenant may have 500000")(s.ImportMappings(ctx, clerk, importing("2", skuOfStock, "value,target\nB,1\n")))
		wantChange(t, "v2 +0 ~1 -0 =0")(s.ImportMappings(ctx, clerk, importing("3", skuOfStock, "value,target\nA,2\n")))
	})

	t.Run("TakesALargeFile", func(t *testing.T) {
		s := fresh.emptied(t)
		const rows = 20_000 // BenchmarkStore_ImportMappings takes 200,000
		q := importing("1", skuOfStock, "")
		q.Source = manyMappings(rows, 0)
		wantChange(t, fmt.Sprintf("v1 +%d ~0 -0 =0", rows))(s.ImportMappings(ctx, clerk, q))
		q.RequestID, q.Source, q.Replace = "2", manyMappings(rows, rows/2), true // half of it is other values
		wantChange(t, fmt.Sprintf("v2 +%d ~0 -%d =%d", rows/2, rows/2, rows/2))(s.ImportMappings(ctx, clerk, q))
		if n := one[int](s, `SELECT entries FROM mapping_tables`); n != rows {
			t.Errorf("%d entries", n)
		}
	})
}

// manyMappings is a file of so many rows, the first of them the given one.
func manyMappings(rows, from int) io.Reader {
	pages := []io.Reader{strings.NewReader("value,target\n")}
	for at := from; at < from+rows; at += 1_000 {
		pages = append(pages, &lazyPage{from: at, to: min(at+1_000, from+rows)})
	}
	return io.MultiReader(pages...)
}

// lazyPage is made when it is read, so that the file costs no memory.
type lazyPage struct {
	from, to int
	text     *strings.Reader
}

func (p *lazyPage) Read(b []byte) (int, error) {
	if p.text == nil {
		var page strings.Builder
		for i := p.from; i < p.to; i++ {
			fmt.Fprintf(&page, "SKU-%07d-OAT,ITM-%d\n", i, i)
		}
		p.text = strings.NewReader(page.String())
	}
	n, err := p.text.Read(b)
	if err == io.EOF {
		p.text = strings.NewReader("")
	}
	return n, err
}

// Whatever a file holds: it is taken or refused, and what is taken comes out again.
func FuzzImportMappings(f *testing.F) {
	for _, seed := range []string{"value,target\nA,1\n", "\uFEFFvalue;target\r\n\"a\"\"b\";1", "target\tvalue\n1\t\"x\ny\"", "value,target\n\"", "\"value\",target\n,\n", "a\rb"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		rows, err := outbox.ReadMappingFile(bytes.NewReader(file))
		if err != nil {
			var refusal *outbox.Refusal
			if !errors.As(err, &refusal) || refusal.Message == "" {
				t.Fatalf("%q: %v", file, err)
			}
			return
		}
		again, err := outbox.ReadMappingFile(strings.NewReader(outbox.WriteMappingFile(rows)))
		if err != nil {
			t.Fatalf("%q was taken as %q, and what was written of it was not: %v", file, rows, err)
		}
		if diff := cmp.Diff(rows, again); diff != "" {
			t.Fatalf("%q (-first +again):\n%s", file, diff)
		}
	})
}

func BenchmarkStore_ImportMappings(b *testing.B) {
	s := newShop(b, "stock")
	const rows = 200_000
	for i := range b.N {
		q := importing(fmt.Sprint(i, rand.Uint64()), skuOfStock, "")
		q.Source, q.Replace = manyMappings(rows, i*rows/2), true
		if _, err := s.ImportMappings(b.Context(), clerk, q); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
