package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// README's section on mapping tables, step by step, and what goes wrong on the way.
func TestProgram_Mappings(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	secret := "file:" + in.write("stock.secret", receiverSecret)
	config := in.write("shop.yaml", `
tenant: kopi
sources: {till: {}}
destinations:
  stock: {webhook: {url: "http://127.0.0.1:1", secret: "`+secret+`"}}
`)
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	says := func(want string, arguments ...string) {
		t.Helper()
		if out := in.run(append([]string{"mappings"}, arguments...)...); !strings.Contains(out, want) {
			t.Errorf("%v says\n%s\nwant %q", arguments, out, want)
		}
	}
	says("there are no mapping tables yet", "list")
	says("nothing is missing", "gaps")
	says("version 1: 1 added, 0 changed, 0 removed, 0 unchanged", "set", "stock", "sku", "LATTE-OAT=ITM-42", "--reason", "new item")
	says("nothing differs from version 1", "set", "stock", "sku", "LATTE-OAT=ITM-42", "--reason", "again")
	items := in.write("items.csv", "value,target\r\nLATTE,ITM-7\r\n\"TEA, ICED\",ITM-8\r\nLATTE-OAT,ITM-43\r\n")
	says(`~ stock sku  LATTE-OAT = ITM-43, was ITM-42`, "import", "stock", "sku", items, "--dry-run")
	says("it would be: 2 added, 1 changed, 0 removed, 0 unchanged; nothing is stored", "import", "stock", "sku", items, "--dry-run")
	says("version 2: 2 added, 1 changed", "import", "stock", "sku", items)
	says("version 3: 1 added", "default", "stock", "customer", "WALK-IN", "--reason", "sales at the counter")
	says("version 4: 1 added", "set", "--shared", "tax", " odd =PPN=11", "--reason", "targets may hold a =")
	says("TEA, ICED = ITM-8", "list", "stock", "sku", "--search", "tea")
	says(`" odd " = PPN=11`, "list", "--shared", "tax")
	says("any other = WALK-IN", "list", "stock", "customer")
	says("LATTE-OAT = ITM-43, was ITM-42  (", "history", "stock", "sku", "LATTE-OAT")
	says("imported from items.csv", "history", "stock", "sku")
	says("customer  default = WALK-IN", "history")
	says("There is more", "history", "--limit", "1")
	says("version 5: 0 added, 0 changed, 1 removed", "remove", "stock", "sku", "LATTE", "--reason", "sold out")

	// What export writes, import takes back; through a pipe too.
	all := in.run("mappings", "export")
	if want := "table,destination,value,target\nsku,stock,LATTE-OAT,ITM-43\nsku,stock,\"TEA, ICED\",ITM-8\ntax,\"\", odd ,PPN=11\n"; all != want {
		t.Errorf("exported:\n%s", all)
	}
	piped := in.command("mappings", "import", "-", "--replace", "--json")
	piped.Stdin = strings.NewReader(all)
	var change struct{ Version, Added, Changed, Removed, Unchanged int }
	if stdout, stderr, code := in.finish(piped); code != 0 || json.Unmarshal([]byte(stdout), &change) != nil || change.Version != 5 || change.Unchanged != 3 {
		t.Errorf("taken back: status %d, %s%s", code, stdout, stderr)
	}
	file := filepath.Join(filepath.Dir(in.state), "sku.csv")
	in.run("mappings", "export", "stock", "sku", "--out", file)
	if text, err := os.ReadFile(file); err != nil || string(text) != "value,target\nLATTE-OAT,ITM-43\n\"TEA, ICED\",ITM-8\n" {
		t.Errorf("exported to a file: %q, %v", text, err)
	}

	// Gaps, as look-ups leave them.
	db := in.database()
	if _, err := db.Exec(t.Context(), `INSERT INTO exceptions (tenant, class, destination, rule, field, code, held) SELECT 'kopi', 'SKU_UNMAPPED', id, 'look-up', 'sku', 'LATTE-OATS', 6 FROM destinations`); err != nil {
		t.Fatal(err)
	}
	says("stock sku  LATTE-OATS  holds 6 since ", "gaps")
	says("; perhaps ITM-43 as LATTE-OAT", "gaps", "--table", "sku", "--destination", "stock")
	var gaps struct {
		Gaps []toldGap
		More bool
	}
	if err := json.Unmarshal([]byte(in.run("mappings", "gaps", "--json")), &gaps); err != nil || len(gaps.Gaps) != 1 || gaps.Gaps[0].Held != 6 {
		t.Errorf("gaps: %+v, %v", gaps, err)
	}

	for name, c := range map[string]struct {
		arguments []string
		code      int
		says      string
	}{
		"NoTable":          {[]string{"set", "stock", "--reason", "r"}, 1, "name DESTINATION and TABLE first"},
		"NoPair":           {[]string{"set", "stock", "sku", "LATTE", "--reason", "r"}, 1, "expected VALUE=TARGET"},
		"NothingToSet":     {[]string{"set", "stock", "sku", "--reason", "r"}, 1, "there is nothing to set"},
		"NoReason":         {[]string{"set", "stock", "sku", "A=1"}, 2, "--reason"},
		"NoDestination":    {[]string{"set", "shelf", "sku", "A=1", "--reason", "r"}, 1, `no destination "shelf"`},
		"OldVersion":       {[]string{"set", "stock", "sku", "LATTE-OAT=1", "--if-version", "1", "--reason", "r"}, 1, "has changed since version 1"},
		"NotThere":         {[]string{"remove", "stock", "sku", "COFFEE", "--reason", "r"}, 1, `no entry for "COFFEE"; nothing was removed`},
		"NothingToRemove":  {[]string{"remove", "stock", "sku", "--reason", "r"}, 1, "nothing to remove"},
		"TwoDefaults":      {[]string{"default", "stock", "sku", "A", "B", "--reason", "r"}, 1, "name the one TARGET"},
		"NoTargetToRemove": {[]string{"default", "stock", "sku", "A", "--remove", "--reason", "r"}, 1, "name no TARGET"},
		"NoDefault":        {[]string{"default", "stock", "sku", "--remove", "--reason", "r"}, 1, "has no default"},
		"BadLine":          {[]string{"import", "stock", "sku", in.write("bad.csv", "value,target\nA,1\nB\n,2\n")}, 1, "bad.csv is not imported:\n  line 3: has 1 fields, and the first line 2; put a field that holds the separator into quotes\n  line 4: the value is empty"},
		"NoFile":           {[]string{"import", "stock", "sku", "nowhere.csv"}, 1, "nowhere.csv"},
		"NoTableForFile":   {[]string{"import", items}, 1, "name the table, or give the file a column table"},
		"NoTableToExport":  {[]string{"export", "stock", "skus"}, 1, "there is no table skus of stock"},
		"NoTableToList":    {[]string{"list", "stock", "skus"}, 1, "nothing is in table skus of stock"},
		"NoTenant":         {[]string{"list", "--tenant", "teh"}, 1, `no tenant "teh"`},
		"GapsOfNowhere":    {[]string{"gaps", "--destination", "shelf"}, 1, `no destination "shelf"`},
		"NoLimit":          {[]string{"gaps", "--limit", "0"}, 1, "--limit"},
	} {
		stdout, stderr, code := in.try(append([]string{"mappings"}, c.arguments...)...)
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: status %d, want %d\n%s%s\nwant %q", name, code, c.code, stdout, stderr, c.says)
		}
	}
	if n := query[int](t, db, `SELECT version FROM mapping_versions`); n != 5 {
		t.Errorf("version %d after all that was refused", n)
	}
}

func TestMappingsImport_File(t *testing.T) {
	t.Parallel()
	for arguments, want := range map[string]string{
		"items.csv":                    "|||items.csv",
		"stock sku items.csv":          "stock|sku||items.csv",
		"--shared tax taxes.csv":       "|tax||taxes.csv",
		"stock items.csv":              "error",
		"--shared items.csv":           "error",
		"stock sku more items.csv":     "error",
		"--shared stock tax taxes.csv": "error",
	} {
		var c mappingsImport
		rest, shared := strings.CutPrefix(arguments, "--shared ")
		c.Shared, c.Arguments = shared, strings.Fields(rest)
		table, path, err := c.file()
		got := strings.Join([]string{table.Destination, table.Name, "", path}, "|")
		if err != nil {
			got = "error"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", arguments, diff)
		}
	}
}
