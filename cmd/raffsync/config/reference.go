package config

import (
	_ "embed"
	"fmt"
	"strings"

	"raffsync/connectors"
	"raffsync/connectors/auth"
)

// Example is a complete configuration to start from.
//
//go:embed example.yaml
var Example string

// Reference is the format in Markdown: an example, and a table for each section. It
// is printed from the fields that decode a file, with the kinds of destination that
// there are.
func Reference(kinds connectors.Registry) string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n" +
		"One YAML file, read strictly: what is not listed here is an error, and so are anchors, aliases, tags and names defined twice. " +
		"Names are " + nameRule + ". " +
		"Durations have a unit: `250ms`, `10s`, `1h30m`, `7d`. " +
		"Secrets stand there as references: `env:NAME` (a variable of the environment) or `file:PATH` " +
		"(a file, mode 0600, from the working directory where the path is relative; one line feed at its end does not count).\n\n" +
		fmt.Sprintf("At most %d KiB.\n\n", maxFileBytes>>10) +
		fmt.Sprintf("Sample events in `%s/SOURCE/*.json` beside the file (what `raffsync send` takes, or `{\"id\": …, \"type\": …, \"orderingKey\": …, \"data\": {…}}` of a source that streams; in `*.jsonl` one a line) are taken through its routes whenever it is loaded; at most %d files. An expression that fails for one is an error.\n\n", SamplesFolder, maxSamples) +
		"```yaml\n" + strings.TrimSpace(Example) + "\n```\n")
	describe(&b, "", "The file", "", rootFields(&File{Listen: Listen{HTTP: DefaultHTTP, GRPC: DefaultGRPC}}, kinds))
	b.WriteString("\n## `auth` of a destination's kind\n\n" +
		"How requests are authorised, besides what the kind itself signs. What a platform gives is kept sealed in the database, by the key in RAFFSYNC_SECRET_KEY.\n\n" + auth.Reference())
	return b.String()
}

func describe(b *strings.Builder, path, title, doc string, fields []field) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if doc != "" {
		b.WriteString(doc + "\n\n")
	}
	b.WriteString("| field | takes | where it is left out | |\n|---|---|---|---|\n")
	for _, f := range fields {
		otherwise := f.fallback
		switch {
		case f.required:
			otherwise = "an error"
		case otherwise == "" && f.inside != nil:
			otherwise = "the defaults below"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.name, cell(f.takes), cell(otherwise), cell(f.doc))
	}
	for _, f := range fields {
		if len(f.inside) == 0 {
			continue
		}
		below := join(path, f.name)
		if f.named {
			below = join(below, "NAME")
		}
		if f.listed {
			below += "[]"
		}
		describe(b, below, "`"+below+"`", "", f.inside)
	}
}

// cell keeps a text within its cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}
