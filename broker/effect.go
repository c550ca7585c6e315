package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"raffsync/connectors/mapping"
	"raffsync/outbox"
)

// Effect names what a step of a route brings about for an event. An error quotes nothing of
// the event.
type Effect func(*outbox.Event) (string, error)

// CompileEffect compiles the name of an effect, a text with ${…}; nil where the step names
// none. Its error is a [*mapping.SyntaxError] wherever an expression is at fault, with the
// place in the text.
func CompileEffect(text string) (Effect, error) {
	if text == "" {
		return nil, nil
	}
	parts, err := effectParts(text)
	if err != nil {
		return nil, err
	}
	return func(e *outbox.Event) (string, error) {
		var seen view
		event, body := seen.of(e)
		var name strings.Builder
		for _, p := range parts {
			name.WriteString(p.literal)
			if p.expression == nil {
				continue
			}
			value, err := p.expression.Of(context.Background(), event, body)
			if err != nil {
				return "", err
			}
			switch value := value.(type) {
			case string:
				name.WriteString(value)
			case int64:
				name.WriteString(strconv.FormatInt(value, 10))
			case time.Time:
				name.WriteString(value.UTC().Format(time.RFC3339Nano))
			default:
				return "", errors.New("what it is made of is not there")
			}
		}
		return name.String(), outbox.CheckEffect(name.String())
	}, nil
}

// effectPart is a text, and the expression behind it; nil at the end.
type effectPart struct {
	literal    string
	expression *mapping.Version
}

func effectParts(text string) (parts []effectPart, err error) {
	rest, at := text, 0
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			return append(parts, effectPart{literal: before}), nil
		}
		at += len(before) + 2
		end := endOfExpression(after)
		if end < 0 {
			return nil, syntaxAt(text, at-2, &mapping.SyntaxError{Line: 1, Column: 1, Message: "the ${ that opens here is not closed; expected }"})
		}
		expression, err := mapping.CompileVersion(after[:end])
		var wrong *mapping.SyntaxError
		if errors.As(err, &wrong) {
			return nil, syntaxAt(text, at, wrong)
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, effectPart{before, expression})
		rest, at = after[end+1:], at+end+1
	}
}

// endOfExpression is where the } stands that closes an expression: not in a text, and not
// the end of a mapping. It is negative where there is none.
func endOfExpression(text string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
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

// syntaxAt is the error of an expression that begins so many bytes into a text.
func syntaxAt(text string, from int, wrong *mapping.SyntaxError) error {
	before := text[:from]
	line := strings.Count(before, "\n")
	placed := &mapping.SyntaxError{Line: wrong.Line + line, Column: wrong.Column, Message: wrong.Message}
	if wrong.Line == 1 {
		placed.Column += len([]rune(before[strings.LastIndex(before, "\n")+1:]))
	}
	return placed
}

// checkSteps compiles what a route's steps bring about. Two of them may not bring about the
// same: the second would find what the first has made.
func checkSteps(steps []outbox.StepConfig, fault func(field string, err error)) {
	named := make(map[string]string)
	for i, s := range steps {
		field := fmt.Sprintf("steps[%d].effect", i)
		if _, err := CompileEffect(s.Effect); err != nil {
			fault(field, err)
		}
		if first, twice := named[s.Effect]; twice && s.Effect != "" {
			fault(field, fmt.Errorf("step %q names the same effect; name what each of them brings about", first))
		}
		named[s.Effect] = s.Name
	}
}
