package outbox_test

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/outboxtest"
)

// packageSource is this package as it is written, without its tests.
func packageSource(t testing.TB) (*token.FileSet, []*ast.File) {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return set, files
}

// statements are the package's constants whose name ends in SQL.
func statements(t testing.TB) map[string]string {
	t.Helper()
	set, files := packageSource(t)
	// Constants are made of constants of the package, so what it imports is not needed.
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	checked, _ := config.Check("raffsync/outbox", set, files, nil)
	found := make(map[string]string)
	for _, name := range checked.Scope().Names() {
		c, ok := checked.Scope().Lookup(name).(*types.Const)
		if ok && strings.HasSuffix(name, "SQL") && c.Val().Kind() == constant.String {
			found[name] = constant.StringVal(c.Val())
		}
	}
	if len(found) < 40 {
		t.Fatalf("only %d statements were found", len(found))
	}
	return found
}

type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}

// Utility statements that PREPARE does not take.
var unprepared = regexp.MustCompile(`^\s*(LISTEN|SET) `)

func TestSQL_EveryStatementIsPrepared(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), outboxtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	all := statements(t)
	// What changes of mappings are staged in is there within their transaction only.
	for _, name := range []string{"createMappingStageSQL", "createMappingDiffSQL"} {
		if _, err := conn.Exec(t.Context(), strings.ReplaceAll(all[name], "ON COMMIT DROP", "")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, sql := range all {
		if unprepared.MatchString(sql) {
			continue
		}
		if _, err := conn.Prepare(t.Context(), name, sql); err != nil {
			t.Errorf("%s: %v\n%s", name, err, sql)
		}
	}
}

// Only what stands in such a constant is prepared above.
func TestSQL_EveryStatementIsAConstant(t *testing.T) {
	t.Parallel()
	statement := regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|LISTEN|SET|NOTIFY|CALL|COPY|LOCK)\s`)
	set, files := packageSource(t)
	for _, file := range files {
		constants := make(map[*ast.BasicLit]bool)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if len(n.Names) == 1 && strings.HasSuffix(n.Names[0].Name, "SQL") {
					ast.Inspect(n, func(n ast.Node) bool {
						if lit, ok := n.(*ast.BasicLit); ok {
							constants[lit] = true
						}
						return true
					})
				}
			case *ast.BasicLit:
				if n.Kind != token.STRING || constants[n] {
					return true
				}
				if text, err := strconv.Unquote(n.Value); err == nil && statement.MatchString(text) {
					t.Errorf("%s: a statement outside of a constant …SQL: %.60s", set.Position(n.Pos()), text)
				}
			}
			return true
		})
	}
}
