package mapping

import (
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

const longText = "it makes a text of more than 1 MiB"

// declareTexts declares functions over texts, by the names that CEL's own extension has
// for them; that one has no limits to what it makes.
func declareTexts() []cel.EnvOption {
	text, number := cel.StringType, cel.IntType
	unary := func(name string, of func(string) string) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload("string_"+name, []*cel.Type{text}, text, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return types.String(of(string(v.(types.String))))
		})))
	}
	return []cel.EnvOption{
		unary("trim", strings.TrimSpace),
		unary("lowerAscii", func(s string) string { return mapASCII(s, 'A', 'Z', 'a'-'A') }),
		unary("upperAscii", func(s string) string { return mapASCII(s, 'a', 'z', 'A'-'a') }),
		cel.Function("truncate", cel.MemberOverload("string_truncate_int", []*cel.Type{text, number}, text, cel.BinaryBinding(func(v, length ref.Val) ref.Val {
			return truncate(string(v.(types.String)), int64(length.(types.Int)))
		}))),
		cel.Function("split", cel.MemberOverload("string_split_string", []*cel.Type{text, text}, cel.ListType(text), cel.BinaryBinding(func(v, by ref.Val) ref.Val {
			return split(string(v.(types.String)), string(by.(types.String)))
		}))),
		cel.Function("replace", cel.MemberOverload("string_replace_string_string", []*cel.Type{text, text, text}, text, cel.FunctionBinding(func(args ...ref.Val) ref.Val {
			return replace(string(args[0].(types.String)), string(args[1].(types.String)), string(args[2].(types.String)))
		}))),
		cel.Function("join", cel.MemberOverload("list_join_string", []*cel.Type{cel.ListType(text), text}, text, cel.BinaryBinding(func(list, with ref.Val) ref.Val {
			return join(list.(traits.Lister), string(with.(types.String)))
		}))),
	}
}

func mapASCII(s string, from, to rune, by rune) string {
	return strings.Map(func(c rune) rune {
		if c >= from && c <= to {
			return c + by
		}
		return c
	}, s)
}

// truncate cuts to at most so many characters.
func truncate(s string, length int64) ref.Val {
	if length < 0 {
		return fail("truncate takes a length from 0 on")
	}
	for i := range s {
		if length--; length < 0 {
			return types.String(s[:i])
		}
	}
	return types.String(s)
}

func split(s, by string) ref.Val {
	n := strings.Count(s, by) + 1
	if by == "" {
		n = utf8.RuneCountInString(s)
	}
	if n > maxList {
		return fail("it makes a list of more than 100,000 values")
	}
	return types.NewStringList(types.DefaultTypeAdapter, strings.Split(s, by))
}

func replace(s, old, with string) ref.Val {
	if len(s)+strings.Count(s, old)*max(0, len(with)-len(old)) > maxText {
		return fail(longText)
	}
	return types.String(strings.ReplaceAll(s, old, with))
}

func join(list traits.Lister, with string) ref.Val {
	var out strings.Builder
	for it, i := list.Iterator(), 0; it.HasNext() == types.True; i++ {
		element, ok := it.Next().(types.String)
		if !ok {
			return fail("join takes a list of texts; string(…) makes one")
		}
		if i > 0 {
			out.WriteString(with)
		}
		if out.Len()+len(element) > maxText {
			return fail(longText)
		}
		out.WriteString(string(element))
	}
	return types.String(out.String())
}
