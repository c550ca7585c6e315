package config

import (
	"encoding/json"
	"errors"

	"github.com/goccy/go-yaml/ast"

	"raffsync/connectors/hooks"
	"raffsync/connectors/rules"
	"raffsync/outbox"
)

// receiverSection is a section of a source that package hooks reads: its tables are the
// format, and say what is in the reference.
func receiverSection(name string, into *json.RawMessage, settings []rules.Setting, fallback, doc string) field {
	return field{
		name: name, takes: "a mapping", fallback: fallback, doc: doc, inside: described(settings),
		decode: func(d *decoder, v value) {
			if name == "webhook" {
				d.conceal(v.node) // a secret may stand there that should be a reference
				d.concealLists(v.node)
			}
			before := len(d.problems)
			if raw, ok := d.settings(v); ok && len(d.problems) == before {
				*into = raw
			}
		},
	}
}

// concealLists keeps names inside of lists out of excerpts: where a comma is missing, what
// should be a value of its own is one.
func (d *decoder) concealLists(n ast.Node) {
	ast.Walk(visitor(func(n ast.Node) {
		if list, ok := n.(*ast.SequenceNode); ok {
			for _, element := range list.Values {
				for _, entry := range entries(element) {
					d.src.hide(positionOf(entry.Key.GetToken()), d.behind(entry.Key))
				}
			}
		}
	}), n)
}

// receiver builds a source that is received once, to have its settings checked.
func (d *decoder) receiver(v value, c *outbox.SourceConfig) {
	_, hasWebhook := d.names[join(v.path, "webhook")]
	_, hasEvent := d.names[join(v.path, "event")]
	switch {
	case hasEvent && !hasWebhook:
		d.fail(d.names[join(v.path, "event")], join(v.path, "event"), "is for webhooks; expected a section webhook beside it")
		return
	case c.Webhook == nil || hasEvent && c.Event == nil:
		return // there is none, or what is wrong with it was said
	}
	settings := hooks.Config{Name: v.name, Webhook: c.Webhook, Event: c.Event, Secret: func(reference string) (string, error) {
		if _, err := ParseSecretRef(reference); err != nil {
			return "", err
		}
		if !d.options.Secrets {
			return "", errUnresolved
		}
		d.adviseMode(join(v.path, "webhook"), reference)
		return ResolveSecret(reference)
	}}
	made, err := hooks.New(settings)
	for _, cause := range joined(err) {
		if !errors.Is(cause, errUnresolved) {
			d.settingProblem(v.path, firstLine(cause.Error()))
		}
	}
	if err != nil { // samples are not signed
		settings.Secret = func(string) (string, error) { return placeholder, nil }
		made, err = hooks.New(settings)
	}
	if err == nil {
		d.receivers[v.name] = made
	}
}

// joined are the errors that were joined, as they are.
func joined(err error) (all []error) {
	if err == nil {
		return nil
	}
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, one := range several.Unwrap() {
		all = append(all, joined(one)...)
	}
	return all
}
