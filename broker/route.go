package broker

import (
	"context"
	"fmt"
	"mime"
	"strings"

	"raffsync/connectors/mapping"
	"raffsync/outbox"
)

// ConditionError says that the condition of a route could not be evaluated for an
// event.
type ConditionError struct {
	Route string
	Err   error
}

func (e *ConditionError) Error() string {
	return fmt.Sprintf("the condition of route %q failed: %s", e.Route, e.Err)
}

func (e *ConditionError) Unwrap() error { return e.Err }

// Route says where an event goes: at most one target for each destination, by the
// first of its routes that matches. It is pure. Nil rules want nothing.
//
// A condition that reads something absent does not match (package mapping). One that
// fails in any other way fails the event: Route returns a [*ConditionError] and no
// target at all, also none for destinations whose own routes are sound. Neither
// "matches" nor "does not" would be true, and an event that is unrouted as a whole
// is stored, counted, listed and replayable, where one that silently lacks a single
// destination shows nowhere.
func Route(e *outbox.Event, rules *Rules) ([]outbox.Target, error) {
	if rules == nil {
		return nil, nil
	}
	choices := rules.bySource[e.Source]
	targets := make([]outbox.Target, 0, len(choices))
	var seen view
	for i := range choices {
		for _, r := range choices[i].routes {
			if !r.takes(e.Type) {
				continue
			}
			if r.when != nil {
				event, body := seen.of(e)
				matches, err := r.when.Matches(context.Background(), event, body)
				if err != nil {
					return nil, &ConditionError{Route: r.name, Err: err}
				}
				if !matches {
					continue
				}
			}
			targets = append(targets, outbox.Target{Destination: r.destination, Route: r.name})
			break
		}
	}
	return targets, nil
}

// view is the event as conditions see it, made for the first of them.
type view struct {
	event *mapping.Event
	body  *mapping.Body
}

func (v *view) of(e *outbox.Event) (*mapping.Event, *mapping.Body) {
	if v.event == nil {
		v.event = &mapping.Event{ID: e.ID, Type: e.Type, OrderingKey: e.OrderingKey, Outlet: e.Outlet, References: e.References, OccurredAt: e.OccurredAt}
		v.body = mapping.NewBody(nil)
		if isJSON(e.ContentType) {
			v.body = mapping.NewBody(e.Payload)
		}
	}
	return v.event, v.body
}

// isJSON tells whether a media type declares JSON: application/json, or anything
// with the suffix +json (RFC 6839). None declares it too.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == defaultContentType {
		return true
	}
	media := mediaType(contentType)
	return media == defaultContentType || strings.HasSuffix(media, "+json")
}

func isText(contentType string) bool { return strings.HasPrefix(mediaType(contentType), "text/") }

// mediaType is the type without its parameters, in lower case.
func mediaType(contentType string) string {
	if media, _, err := mime.ParseMediaType(contentType); err == nil {
		return media
	}
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// defaultContentType is that of data which declares none.
const defaultContentType = "application/json"
