package graph

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"raffsync/graph/internal/generated"
)

// No text that Postgres cannot hold is taken for a fault of ours, wherever it stands:
// each text argument and each text field of an input holds U+0000 once, and the rest
// something plausible.
func TestQuery_TakesNoNUL(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books")
	var got struct {
		Deliveries struct{ Nodes []struct{ ID string } }
	}
	h.get(t, "kopi", `{ deliveries { nodes { id } } }`, nil, &got)
	schema := generated.NewExecutableSchema(generated.Config{}).Schema()
	tried := 0
	for _, root := range []*ast.Definition{schema.Query, schema.Mutation} {
		for _, field := range root.Fields {
			for _, arguments := range withNUL(schema, field.Arguments, got.Deliveries.Nodes[0].ID) {
				query := fmt.Sprintf("%s { %s(%s) { __typename } }", strings.ToLower(root.Name), field.Name, strings.Join(arguments, ", "))
				a := h.ask(t, "kopi", query, nil)
				tried++
				if code := a.code(); code == codeInternal || code == codeUnavailable || len(a.Errors) > 0 && code == "" {
					t.Errorf("%s: %+v", query, a.Errors)
				}
			}
		}
	}
	if tried < 25 {
		t.Errorf("only %d texts were tried", tried)
	}
}

// withNUL returns lists of arguments, in each of which one text holds U+0000.
func withNUL(schema *ast.Schema, wanted ast.ArgumentDefinitionList, id string) (lists [][]string) {
	for _, bad := range wanted {
		for _, value := range valuesWithNUL(schema, bad.Type, id) {
			list := []string{bad.Name + ": " + value}
			for _, other := range wanted {
				if other != bad && other.Type.NonNull && other.DefaultValue == nil {
					list = append(list, other.Name+": "+plausible(schema, other.Type, other.Name, id))
				}
			}
			lists = append(lists, list)
		}
	}
	return lists
}

const textWithNUL = `"a\u0000b"`

func valuesWithNUL(schema *ast.Schema, of *ast.Type, id string) (values []string) {
	definition := schema.Types[of.Name()]
	switch {
	case of.Name() == "String" || of.Name() == "ID":
		return []string{textWithNUL}
	case definition.Kind != ast.InputObject:
		return nil
	}
	for _, bad := range definition.Fields {
		for _, value := range valuesWithNUL(schema, bad.Type, id) {
			fields := []string{bad.Name + ": " + value}
			for _, other := range definition.Fields {
				if other != bad && other.Type.NonNull {
					fields = append(fields, other.Name+": "+plausible(schema, other.Type, other.Name, id))
				}
			}
			values = append(values, "{"+strings.Join(fields, ", ")+"}")
		}
	}
	return values
}

func plausible(schema *ast.Schema, of *ast.Type, name, id string) string {
	definition := schema.Types[of.Name()]
	switch {
	case definition.Kind == ast.Enum:
		return definition.EnumValues[0].Name
	case definition.Kind == ast.InputObject:
		var fields []string
		for _, f := range definition.Fields {
			if f.Type.NonNull && f.DefaultValue == nil {
				fields = append(fields, f.Name+": "+plausible(schema, f.Type, f.Name, id))
			}
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case of.Name() == "Int":
		return "1"
	case of.Name() == "Boolean":
		return "true"
	case of.Name() == "ID":
		return fmt.Sprintf("%q", id)
	}
	return fmt.Sprintf("%q", name)
}
