package webhook

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"raffsync/connectors"
	"raffsync/connectors/egress"
	"raffsync/connectors/outcome"
)

// askDocument is the setting "ask" as it is written.
type askDocument struct {
	URL string `json:"url"`
}

// question is where a receiver is asked what became of a request. The address may hold
// a token, hence the function: see [secret].
type question struct {
	url func(id, event string) (*url.URL, error)
}

// askable is a destination whose receiver can be asked.
type askable struct {
	*destination
	question *question
}

const (
	idPlace    = "{id}"
	eventPlace = "{event_id}"
	askExample = "https://example.com/hooks/{id}"
)

var places = regexp.MustCompile(`\{[^{}]*\}`)

func (s *settings) readAsk(d *askDocument, allowLoopback bool) error {
	if d == nil {
		return nil
	}
	for _, place := range places.FindAllString(d.URL, -1) {
		if place != idPlace && place != eventPlace {
			return errors.New("ask: url: holds {…} that is neither {id} nor {event_id}")
		}
	}
	filled := func(with string) string { return places.ReplaceAllString(d.URL, with) }
	u, err := parseURL("ask: url", filled("x"), askExample, allowLoopback)
	if err != nil {
		return err
	}
	if filled("") == d.URL {
		return errors.New("ask: url: names no request; expected {id} or {event_id} in it, for example " + askExample)
	}
	if other, err := url.Parse(filled("y")); err != nil || other.Host != u.Host {
		return errors.New("ask: url: {id} and {event_id} belong into its path or query, not into its host")
	}
	raw := d.URL
	s.ask = &question{url: func(id, event string) (*url.URL, error) { return fillIn(raw, id, event) }}
	s.traits.AsksByEvent = !strings.Contains(raw, idPlace)
	s.known = append(s.known, tokens(u)...)
	return nil
}

// errDots: a path with such a part is that of another thing.
var errDots = errors.New("an id of dots only cannot stand in a path")

// fillIn puts ids into their places, so that each stays within its place whatever it is.
func fillIn(raw, id, event string) (*url.URL, error) {
	path, query, _ := strings.Cut(raw, "?")
	if strings.Contains(path, eventPlace) && strings.Trim(event, ".") == "" {
		return nil, errDots
	}
	put := func(text string, escape func(string) string) string {
		return strings.NewReplacer(idPlace, escape(id), eventPlace, escape(event)).Replace(text)
	}
	address := put(path, url.PathEscape)
	if query != "" {
		address += "?" + put(query, url.QueryEscape)
	}
	return url.Parse(address)
}

// Reconcile implements [connectors.Reconciler]: one signed GET.
func (d *askable) Reconcile(ctx context.Context, prepared connectors.Request) connectors.Reconciliation {
	r, ok := prepared.(*request)
	if !ok {
		return connectors.Reconciliation{Outcome: outcome.Foreign(prepared)}
	}
	address, err := d.question.url(r.id, r.event)
	if err != nil {
		return connectors.Reconciliation{Outcome: connectors.Outcome{Kind: poison, Rule: "question not valid", Reason: "no address can be made of the event's id to ask at"}}
	}
	ask := (&http.Request{Method: http.MethodGet, URL: address, Header: make(http.Header, 8+len(d.headers))}).WithContext(ctx)
	ask.Header.Set("Accept", "application/json")
	ask.Header.Set("User-Agent", userAgent)
	ask.Header.Set("Webhook-Id", r.id)
	d.authenticate(ask.Header, r.id, nil, d.now())
	if err := d.auth.Authorize(ctx, ask); err != nil {
		return connectors.Reconciliation{Outcome: unauthorized(err)}
	}
	response, err := d.client.Do(ctx, ask)
	if response == nil {
		return connectors.Reconciliation{Outcome: outcome.Failure(err)}
	}
	answer := d.understand(address, response)
	answer.Outcome = d.authenticated(ctx, ask, answer.Outcome)
	return answer
}

// understand makes of an answer to a question what it proves. A 2xx in which a rule
// sees anything but success proves nothing.
func (d *askable) understand(address *url.URL, response *egress.Response) connectors.Reconciliation {
	said := outcome.Of(d.rules.Classify(outcome.Answer(response)), response, d.now(), d.known())
	text := outcome.StatusText(response.Status)
	r := connectors.Reconciliation{Outcome: connectors.Outcome{Kind: said.Kind, Rule: said.Rule, Status: response.Status}}
	switch status := response.Status; {
	case status >= 200 && status <= 299 && said.Kind == delivered:
		r.Finding, r.Reason = connectors.Found, text+": the receiver has it"
		r.ExternalID, r.URL = said.ExternalID, outcome.Scrub(outcome.ReceiptURL(address, response.Header), d.known())
	case status == http.StatusNotFound, status == http.StatusGone:
		r.Finding, r.Reason = connectors.Absent, text+": the receiver does not have it"
	default:
		r.Outcome, r.Reason = said, text+": the receiver cannot tell"
		r.ExternalID = ""
	}
	return r
}
