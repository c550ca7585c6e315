package recipe

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"

	"raffsync/connectors/mapping"
)

// piece is a part of a text: a literal, or an expression without its ${ and }.
type piece struct{ literal, expression string }

var errOpen = errors.New("${ has no }")

// pieces takes a text apart. Braces and quotes within an expression are CEL's; $${ writes ${.
func pieces(text string) ([]piece, error) {
	var all []piece
	literal := ""
	flush := func() {
		if literal != "" {
			all = append(all, piece{literal: literal})
		}
		literal = ""
	}
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			literal += text
			flush()
			return all, nil
		}
		if i > 0 && text[i-1] == '$' {
			literal, text = literal+text[:i]+"{", text[i+2:]
			continue
		}
		literal += text[:i]
		flush()
		end := closing(text[i+2:])
		if end < 0 {
			return nil, errOpen
		}
		all = append(all, piece{expression: text[i+2 : i+2+end]})
		text = text[i+2+end+1:]
	}
}

// closing is the index of the brace that ends an expression, -1 where there is none.
func closing(text string) int {
	depth := 0
	var quote byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth == 0:
			return i
		case c == '}':
			depth--
		}
	}
	return -1
}

// What an expression reads is told by its words. A word within a text of CEL counts too:
// that makes an expression seem to depend on more than it does, never on less.
var (
	ofEvent   = regexp.MustCompile(`\b(event|body|outlet|steps|existing|request|lookup|reference)\b`)
	ofAuth    = regexp.MustCompile(`\bauth\b`)
	ofAnswer  = regexp.MustCompile(`\b(body|headers|receipt)\b`)
	ofKey     = regexp.MustCompile(`\brequest\b`)
	ofTables  = regexp.MustCompile(`\blookup\b`)
	ofSetting = regexp.MustCompile(`\bsettings\b(?:\.([A-Za-z_][A-Za-z0-9_]*))?`)
	ofStep    = regexp.MustCompile(`(has\(\s*)?\bsteps\.([A-Za-z_][A-Za-z0-9_]*)`)
)

// reads tells whether one of the expressions of a text reads what the pattern finds.
func reads(text string, what *regexp.Regexp) bool {
	all, _ := pieces(text)
	for _, p := range all {
		if what.MatchString(p.expression) {
			return true
		}
	}
	return false
}

type environments struct{ calls, late, answers *mapping.Environment }

// environment of each kind of expression: calls see the event, the settings and the
// request; what is only known when a request is sent, the settings and what came with the
// authorisation; receipts, the answer and the settings.
var environment = sync.OnceValues(func() (e environments, err error) {
	var errs [3]error
	e.calls, errs[0] = mapping.Events().With("settings", "request")
	e.late, errs[1] = mapping.Webhooks().With("settings", "auth")
	e.answers, errs[2] = mapping.Webhooks().With("settings", "receipt")
	return e, errors.Join(errs[:]...)
})

// text compiles a text, and says where it is wrong.
func (c *compiler) text(path, text string, env *mapping.Environment) *mapping.Text {
	c.checkSettings(path, text)
	compiled, err := mapping.CompileText(text, env)
	if err != nil {
		c.wrongText(path, err)
		return nil
	}
	return compiled
}

func (c *compiler) wrongText(path string, err error) {
	wrong := &Error{Path: path, Message: err.Error()}
	var syntax *mapping.SyntaxError
	if errors.As(err, &syntax) {
		wrong.Line, wrong.Column, wrong.Message = syntax.Line, syntax.Column, syntax.Message
	}
	c.add(wrong)
}

// checkSettings holds that a text reads settings that there are, by their name, and no
// secret.
func (c *compiler) checkSettings(path, text string) {
	all, err := pieces(text)
	if err != nil {
		return // which compiling says
	}
	for _, p := range all {
		for _, found := range ofSetting.FindAllStringSubmatch(p.expression, -1) {
			name := found[1]
			switch {
			case name == "":
				c.fail(path, "reads settings other than by a name; expected settings.NAME")
			case c.isSecret(name):
				c.fail(path, "settings.%s is a secret: it may stand in headers alone, in a text that reads settings only", name)
			case !c.declared(name):
				c.fail(path, "there is no setting %q; expected one of %s", name, c.settingNames())
			}
		}
	}
}

// constant renders a text that reads settings alone, secret ones too.
func (c *compiler) constant(path, text string) (rendered string, confidential, ok bool) {
	all, err := pieces(text)
	if err != nil {
		c.fail(path, "%s", err)
		return "", false, false
	}
	known := map[string]string{}
	for _, p := range all {
		for _, found := range ofSetting.FindAllStringSubmatch(p.expression, -1) {
			switch name := found[1]; {
			case !c.declared(name):
				c.fail(path, "there is no setting %q; expected one of %s", name, c.settingNames())
				return "", false, false
			case c.isSecret(name):
				confidential = true
				if value, set := c.secrets[name]; set {
					known[name] = value.reveal()
				}
			default:
				if value, set := c.visible[name]; set {
					known[name] = value
				}
			}
		}
	}
	env, err := environment()
	if err != nil {
		c.fail(path, "%s", err)
		return "", false, false
	}
	compiled, err := mapping.CompileText(text, env.late)
	if err != nil {
		c.wrongText(path, err)
		return "", false, false
	}
	rendered, _, err = compiled.Render(context.Background(), &mapping.Scope{
		Event: &mapping.Event{}, Body: mapping.NewBody(nil), Variables: map[string]any{"settings": known},
	})
	var absent *mapping.AbsentError
	switch {
	case errors.As(err, &absent):
		return "", confidential, false // of a setting that is optional, and not set
	case err != nil:
		c.fail(path, "%s", err)
		return "", confidential, false
	}
	return rendered, confidential, true
}
