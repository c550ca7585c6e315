package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// The kinds of field. Each reads one value, checks it, and describes itself.

func (f field) demanded() field {
	f.required, f.fallback = true, ""
	return f
}

// optional is a field whose absence means something that no value does.
func optional(f field, absent string) field {
	f.fallback = absent
	return f
}

func section(name, doc string, inside []field) field {
	return field{
		name: name, doc: doc, inside: inside, takes: "a mapping with " + choices(namesOf(inside)),
		decode: func(d *decoder, v value) { d.object(v, inside) },
	}
}

// named is a mapping from the user's names to sections of the same fields.
func named(name, doc string, inside func(name string) []field, entry func(*decoder, value)) field {
	return field{
		name: name, doc: doc, inside: inside("NAME"), named: true, takes: "a mapping of names", fallback: "none",
		decode: func(d *decoder, v value) {
			all, _ := d.mapping(v, "a mapping of names, {} for none")
			for _, e := range all {
				if err := checkName(e.name); err != "" {
					d.fail(e.key, v.path, "found the name %q; expected %s", short(e.name), err)
					e.path = join(v.path, "?")
				}
				entry(d, e)
			}
		},
	}
}

// checked is a text that must pass a check, which says what was expected.
func checked(name string, into *string, limit int, takes, doc string, check func(string) string) field {
	return field{
		name: name, takes: takes, fallback: *into, doc: doc,
		decode: func(d *decoder, v value) {
			text, ok := d.text(v, takes, limit)
			if !ok {
				return
			}
			if expected := check(text); expected != "" {
				d.fail(v.at(), v.path, "found %s; expected %s", v.found(), expected)
				return
			}
			*into = text
		},
	}
}

func checkName(text string) string {
	if validName.MatchString(text) {
		return ""
	}
	return nameRule
}

// name is a name by the rule of names.
func name(name string, into *string, takes, doc string) field {
	return checked(name, into, 256, takes, doc, checkName)
}

func address(name string, into *string, doc string) field {
	return checked(name, into, 256, "host:port", doc, func(text string) string {
		if err := checkAddress(text); err != nil {
			return strings.TrimPrefix(err.Error(), "expected ")
		}
		return ""
	})
}

// addressOrOff is an address, or "off". What is left out leaves into as it is.
func addressOrOff(name string, into *string, fallback, doc string) field {
	f := checked(name, into, 256, "host:port, or off", doc, func(text string) string {
		if err := checkAddress(text); err != nil && text != Off {
			return strings.TrimPrefix(err.Error(), "expected ") + "; or off"
		}
		return ""
	})
	f.fallback = fallback
	return f
}

// text is any text.
func text(name string, into *string, limit int, takes, fallback, doc string) field {
	f := checked(name, into, limit, takes, doc, func(string) string { return "" })
	f.fallback = fallback
	return f
}

// databaseURL never shows what it found: it may hold a password.
func databaseURL(name string, into *string, doc string) field {
	const takes = "a reference (env:DATABASE_URL), or an address without a password"
	return field{
		name: name, takes: takes, fallback: "not set", doc: doc,
		decode: func(d *decoder, v value) {
			d.conceal(v.node)
			text, ok := d.text(v, takes, 4096)
			if !ok {
				return
			}
			if err := checkDatabase(text); err != nil {
				d.fail(v.at(), v.path, "%s", err)
				return
			}
			*into = text
			if _, err := ParseSecretRef(text); err == nil && d.options.Secrets {
				d.checkSecret(v.at(), v.path, text)
			}
		},
	}
}

// limit is a text by a form of its own, which need not be there.
func limit(name string, into *string, takes, doc string, check func(string) error) field {
	f := checked(name, into, 64, takes, doc, func(text string) string {
		if check(text) != nil {
			return takes
		}
		return ""
	})
	f.fallback = "no limit"
	return f
}

func choice[T ~string](name string, into *T, all []T, doc string) field {
	var names []string
	for _, one := range all {
		names = append(names, string(one))
	}
	takes := strings.Join(names, " or ")
	return field{
		name: name, takes: takes, fallback: string(*into), doc: doc,
		decode: func(d *decoder, v value) {
			text, ok := d.text(v, takes, 256)
			switch {
			case !ok:
			case !slices.Contains(names, text):
				d.fail(v.at(), v.path, "found %s%s expected %s", v.found(), didYouMean(text, names), takes)
			default:
				*into = T(text)
			}
		},
	}
}

func duration(name string, into *time.Duration, low, high time.Duration, doc string) field {
	takes := "a duration, " + bounds(formatDuration(low), formatDuration(high))
	return field{
		name: name, takes: takes, fallback: formatDuration(*into), doc: doc,
		decode: func(d *decoder, v value) {
			text, _ := scalar(v.node)
			parsed, err := parseDuration(text)
			switch {
			case err == errNoUnit:
				d.fail(v.at(), v.path, "found %s without a unit; expected %s, with ms, s, m, h or d, as %ss", short(text), takes, strings.TrimLeft(short(text), "-"))
			case err != nil:
				d.fail(v.at(), v.path, "found %s; expected %s, with ms, s, m, h or d, as 10s", v.found(), takes)
			case parsed < low || parsed > high:
				d.fail(v.at(), v.path, "found %s; expected %s", short(text), takes)
			default:
				*into = parsed
			}
		},
	}
}

// Numbers are decimal, as people write them: no hexadecimal, no exponent, no 1_000.
var (
	wholeNumber   = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)
	decimalNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)
)

func integer(name string, into *int, low, high int, doc string) field {
	takes := "a whole number, " + bounds(strconv.Itoa(low), strconv.Itoa(high))
	return field{
		name: name, takes: takes, fallback: strconv.Itoa(*into), doc: doc,
		decode: func(d *decoder, v value) {
			if n, ok := v.node.(*ast.IntegerNode); ok && wholeNumber.MatchString(n.GetToken().Value) {
				if parsed, err := strconv.Atoi(n.GetToken().Value); err == nil && parsed >= low && parsed <= high {
					*into = parsed
					return
				}
			}
			d.fail(v.at(), v.path, "found %s; expected %s", v.found(), takes)
		},
	}
}

func number(name string, into *float64, low, high float64, doc string) field {
	takes := "a number, " + bounds(formatNumber(low), formatNumber(high))
	return field{
		name: name, takes: takes, fallback: formatNumber(*into), doc: doc,
		decode: func(d *decoder, v value) {
			switch v.node.(type) {
			case *ast.IntegerNode, *ast.FloatNode:
				written := v.node.GetToken().Value
				parsed, err := strconv.ParseFloat(written, 64)
				if err == nil && decimalNumber.MatchString(written) && parsed >= low && parsed <= high {
					*into = parsed
					return
				}
			}
			d.fail(v.at(), v.path, "found %s; expected %s", v.found(), takes)
		},
	}
}

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

const (
	// maxList is how many texts a list may hold, maxElement how long each may be: a
	// type of event, the longest of them, has 120 bytes (proto/raffsync/v1).
	maxList    = 200
	maxElement = 120
)

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// list is one text or several. Whether they name something is looked at later.
func list(name string, into *[]string, each, fallback, doc string) field {
	takes := "one or a list, each " + each
	return field{
		name: name, takes: takes, fallback: fallback, doc: doc,
		decode: func(d *decoder, v value) {
			elements := []value{v}
			if sequence, ok := v.node.(*ast.SequenceNode); ok {
				elements = nil
				for _, n := range sequence.Values {
					elements = append(elements, value{v.path, v.name, positionOf(sequence.GetToken()), n})
				}
			}
			if len(elements) == 0 || len(elements) > maxList {
				d.fail(v.at(), v.path, "found a list of %d; expected 1 to %d, or leave the field out for %s", len(elements), maxList, fallback)
				return
			}
			for _, e := range elements {
				text, ok := d.text(e, each, maxElement)
				switch {
				case !ok:
				case slices.Contains(*into, text):
					d.fail(e.at(), v.path, "%q stands there twice", text)
				default:
					d.places[element(v.path, len(*into))] = e.at()
					*into = append(*into, text)
				}
			}
		},
	}
}

// text reads a single value as it was written, up to a number of bytes.
func (d *decoder) text(v value, expected string, limit int) (string, bool) {
	text, ok := scalar(v.node)
	if !ok || text == "" {
		d.fail(v.at(), v.path, "found %s; expected %s", v.found(), expected)
		return "", false
	}
	if len(text) > limit {
		d.fail(v.at(), v.path, "found %d bytes; expected at most %d", len(text), limit)
		return "", false
	}
	if !isText(text) {
		d.fail(v.at(), v.path, "found control characters; expected text")
		return "", false
	}
	return text, true
}

// isText says that Postgres can hold it as jsonb, and a terminal can show it.
func isText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t'
	})
}
