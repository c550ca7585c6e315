package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"raffsync/connectors"
	"raffsync/connectors/recipe"
	"raffsync/outbox"
)

// kind is the field of a destination that names its connector. What is in it belongs
// to that connector.
func kind(name string, c *outbox.DestinationConfig) field {
	return field{
		name: name, takes: "a mapping of the connector's settings", fallback: "another kind",
		doc: "The connector's own settings. A destination has exactly one kind.",
		decode: func(d *decoder, v value) {
			d.conceal(v.node)
			settings, ok := d.settings(v)
			switch {
			case c.Kind != "":
				d.fail(v.key, v.parent(), "found a second kind, %q beside %q; expected exactly one", name, c.Kind)
			case ok:
				c.Kind, c.Settings = name, settings
			default:
				c.Kind = name
			}
		},
	}
}

func (v value) parent() string {
	return strings.TrimSuffix(strings.TrimSuffix(v.path, v.name), ".")
}

// destination reads one destination, and builds it once to have its settings checked.
func (d *decoder) destination(v value, c *outbox.DestinationConfig, kinds connectors.Registry) {
	beside := &besides{}
	guessed := d.object(v, destinationFields(c, kinds, beside))
	d.recipe(v, c, beside)
	names := slices.Sorted(maps.Keys(kinds))
	if c.Kind == "" {
		misspelt := slices.ContainsFunc(guessed, func(name string) bool { return slices.Contains(names, name) })
		if _, isMapping := v.node.(*ast.MappingNode); isMapping && !misspelt {
			d.fail(v.head(), v.path, "has no kind; expected exactly one of %s, with its settings", choices(names))
		}
		return
	}
	if c.Settings == nil {
		return
	}
	d.outcomes(v, c, beside.answers)
	path := join(v.path, c.Kind)
	if c.Kind == recipeKind {
		path = v.path // its settings are several fields
	}
	// Without the rules, which have been looked at.
	o := connectors.Options{
		Name: v.name, Settings: c.Settings, AllowLoopback: d.options.AllowLoopback,
		Secret: func(reference string) (string, error) {
			if _, err := ParseSecretRef(reference); err != nil {
				return "", err
			}
			if !d.options.Secrets {
				return "", errUnresolved
			}
			d.adviseMode(path, reference)
			return ResolveSecret(reference)
		},
	}
	connector, err := kinds.New(c.Kind, o)
	d.planner(v.name, connector, kinds, c.Kind, o)
	prefix := fmt.Sprintf("destination %q: ", v.name)
	for _, cause := range causes(err) {
		var wrong *recipe.Error
		switch {
		case errors.Is(cause, errUnresolved):
		case errors.As(cause, &wrong):
			d.recipeProblem(v, wrong)
		default:
			d.settingProblem(path, strings.TrimPrefix(cause.Error(), prefix))
		}
	}
}

// errUnresolved stands for a secret that was not asked for.
var errUnresolved = errors.New("secrets are not looked at")

// causes are the errors that were joined, each with the one that it was wrapped in
// taken off.
func causes(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			var all []error
			for _, one := range joined.Unwrap() {
				all = append(all, causes(one)...)
			}
			return all
		}
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

var quotedWord = regexp.MustCompile(`"([^"\s]+)"`)

// settingProblem places an error of a connector. By the contract it says which
// setting is wrong: "url: …", "headers: Accept: …", or in quotes.
func (d *decoder) settingProblem(path, message string) {
	at := d.names[path]
	rest := message
	for {
		head, tail, ok := strings.Cut(rest, ": ")
		if !ok {
			break
		}
		deeper, found := d.lookUp(path, head)
		if !found {
			break
		}
		path, rest, at = deeper, tail, d.places[deeper]
	}
	if rest == message {
		rest = strings.TrimPrefix(rest, "settings: ")
		for _, quoted := range quotedWord.FindAllStringSubmatch(message, -1) {
			if p, found := d.lookUp(path, quoted[1]); found {
				at = d.names[p]
				break
			}
		}
	}
	d.fail(at, path, "%s", secretKey.ReplaceAllString(rest, "…"))
}

// secretKey is what a Standard Webhooks secret looks like: the last net below all
// others.
var secretKey = regexp.MustCompile(`whsec_[^\s"']{4,}`)

func (d *decoder) lookUp(path, name string) (string, bool) {
	if _, ok := d.places[join(path, name)]; ok {
		return join(path, name), true
	}
	for known := range d.places {
		if strings.EqualFold(known, join(path, name)) {
			return known, true
		}
	}
	return "", false
}

// adviseMode warns of a secret's file that other accounts of the machine can read.
func (d *decoder) adviseMode(path, reference string) {
	if !SecretRef(reference).openToOthers() {
		return
	}
	at := d.names[path]
	for p, place := range d.places {
		if d.references[p] == reference && strings.HasPrefix(p, path+".") {
			at, path = place, p
			break
		}
	}
	d.warn(at, path, "%q can be read by every account of this machine; expected mode 0600", reference)
}

// checkSecret reports a reference that leads to no secret.
func (d *decoder) checkSecret(at position, path, reference string) {
	if _, err := ResolveSecret(reference); err != nil {
		d.fail(at, path, "%s", err)
	} else if SecretRef(reference).openToOthers() {
		d.warn(at, path, "%q can be read by every account of this machine; expected mode 0600", reference)
	}
}

// settings turns a connector's settings into JSON, names sorted and numbers as they
// are written.
func (d *decoder) settings(v value) (json.RawMessage, bool) {
	before := len(d.problems)
	if v.kind() != "a mapping" {
		d.fail(v.at(), v.path, "found %s; expected a mapping of the connector's settings", v.kind())
		return nil, false
	}
	var b bytes.Buffer
	d.json(&b, v)
	return b.Bytes(), len(d.problems) == before
}

func (d *decoder) json(b *bytes.Buffer, v value) {
	switch n := v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		all, _ := d.mapping(v, "a mapping")
		slices.SortFunc(all, func(x, y value) int { return strings.Compare(x.name, y.name) })
		b.WriteByte('{')
		for i, e := range all {
			if i > 0 {
				b.WriteByte(',')
			}
			if !isText(e.name) {
				d.fail(e.key, v.path, "found control characters in a name; expected text")
			}
			quote(b, e.name)
			b.WriteByte(':')
			d.json(b, e)
		}
		b.WriteByte('}')
	case *ast.SequenceNode:
		b.WriteByte('[')
		for i, one := range n.Values {
			if i > 0 {
				b.WriteByte(',')
			}
			e := value{element(v.path, i), v.name, positionOf(n.GetToken()), one}
			d.places[e.path] = e.at()
			d.json(b, e)
		}
		b.WriteByte(']')
	case *ast.BoolNode:
		b.WriteString(strconv.FormatBool(n.Value))
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		written := n.GetToken().Value
		if !decimalNumber.MatchString(written) {
			d.fail(v.at(), v.path, "found a number that is not plain decimal; expected one as 12.5, or a text in quotes")
		}
		b.WriteString(written)
	case *ast.StringNode, *ast.LiteralNode:
		text, _ := scalar(n)
		if !isText(text) {
			d.fail(v.at(), v.path, "found control characters; expected text")
		}
		d.references[v.path] = text
		quote(b, text)
	default:
		d.fail(v.at(), v.path, "found nothing; expected a value, or leave the name out")
		b.WriteString("null")
	}
}

func quote(b *bytes.Buffer, text string) {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string can always be encoded, and a buffer written
	b.Truncate(b.Len() - 1)  // the line feed of Encode
}
