package hooks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"raffsync/connectors/mapping"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Source is a sender whose webhooks are received here. It may be used from many
// goroutines at once.
type Source struct {
	Tenant, Name string
	ID           int32

	verifier verifier
	format   string
	event    compiled
	kept     []string // headers that may be kept of a quarantined webhook
}

// compiled are the expressions of a source. What is nil is left out.
type compiled struct {
	id, typ, orderingKey, outlet, occurredAt *mapping.Text
	references                               []reference
}

type reference struct {
	name string
	text *mapping.Text
}

// maxReferences and maxReferenceName are the contract's (Event.references).
const (
	maxReferences    = 16
	maxReferenceName = 60
)

// New checks the settings and compiles the expressions. Its errors begin with the path of
// what is wrong, and hold no secret.
func New(c Config) (*Source, error) {
	s := &Source{Tenant: c.Tenant, Name: c.Name, ID: c.ID}
	var err error
	if s.verifier, s.format, err = readWebhook(c.Webhook, c.Secret); err != nil {
		err = prefixed("webhook", err)
	}
	var given expressions
	if c.Event != nil {
		if wrong := decode(c.Event, &given); wrong != nil {
			return nil, errors.Join(err, prefixed("event", wrong))
		}
	}
	if err != nil && c.Event == nil {
		return nil, err // it would have said whose expressions hold
	}
	err = errors.Join(err, prefixed("event", s.compile(given.or(defaults[s.format]))))
	if err != nil {
		return nil, err
	}
	s.kept = slices.Clone(keptHeaders)
	all := given.or(defaults[s.format])
	for _, expression := range append(slices.Collect(maps.Values(all.References)), all.ID, all.Type, all.OrderingKey, all.Outlet, all.OccurredAt) {
		for _, found := range readHeader.FindAllStringSubmatch(expression, -1) {
			if name := found[1]; name != s.verifier.header && !couldBeSecret.MatchString(name) && !slices.Contains(s.kept, name) {
				s.kept = append(s.kept, name)
			}
		}
	}
	return s, nil
}

var (
	// readHeader finds the headers that an expression reads.
	readHeader    = regexp.MustCompile(`headers\[['"]([^'"]+)['"]\]`)
	couldBeSecret = regexp.MustCompile(`auth|cookie|key|passw|secret|signature|token`)
)

// keptHeaders are kept besides those that the expressions read: none holds a credential,
// and none changes when a webhook is sent again.
var keptHeaders = []string{
	"x-shopify-topic", "x-shopify-webhook-id", "x-shopify-shop-domain", "x-shopify-api-version",
	"x-wc-webhook-topic", "x-wc-webhook-resource", "x-wc-webhook-event", "x-wc-webhook-delivery-id", "x-wc-webhook-source",
	"webhook-id", "svix-id", "ce-id", "ce-source", "ce-type", "ce-time", "ce-subject", "ce-specversion",
}

// prefixed puts a path before each of the errors that were joined.
func prefixed(path string, err error) error {
	if err == nil {
		return nil
	}
	var all []error
	for _, one := range flat(err) {
		all = append(all, fmt.Errorf("%s: %w", path, one))
	}
	return errors.Join(all...)
}

func flat(err error) (all []error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, one := range joined.Unwrap() {
		all = append(all, flat(one)...)
	}
	return all
}

// environment is that of webhooks, with the body's own hash.
func environment() (*mapping.Environment, error) { return mapping.Webhooks().With("digest") }

func (s *Source) compile(e expressions) error {
	env, err := environment()
	if err != nil {
		return err
	}
	var faults []error
	text := func(name, expression string, needed bool) *mapping.Text {
		if expression == "" {
			if needed {
				faults = append(faults, fmt.Errorf("%s: is missing; expected a text with ${…}, as \"${body.id}\"", name))
			}
			return nil
		}
		compiled, err := mapping.CompileText(expression, env)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
		return compiled
	}
	s.event = compiled{
		id: text("id", e.ID, true), typ: text("type", e.Type, true), orderingKey: text("ordering_key", e.OrderingKey, true),
		outlet: text("outlet", e.Outlet, false), occurredAt: text("occurred_at", e.OccurredAt, false),
	}
	if len(e.References) > maxReferences {
		faults = append(faults, fmt.Errorf("references: found %d; expected at most %d", len(e.References), maxReferences))
	}
	for _, name := range slices.Sorted(maps.Keys(e.References)) {
		if name == "" || len(name) > maxReferenceName {
			faults = append(faults, fmt.Errorf("references: expected names of 1 to %d bytes", maxReferenceName))
		}
		s.event.references = append(s.event.references, reference{name, text("references: "+name, e.References[name], true)})
	}
	return errors.Join(faults...)
}

// message is a webhook as expressions see it.
type message struct {
	headers, query map[string]string
	digest         string
	// body is JSON, in UTF-8.
	body []byte
}

// extract makes the event. Its error is a [*Nonsense].
func (s *Source) extract(ctx context.Context, m *message) (*raffsyncv1.Event, error) {
	scope := &mapping.Scope{
		Body:      mapping.NewBody(m.body),
		Variables: map[string]any{"headers": m.headers, "query": m.query, "digest": m.digest},
	}
	var wrong error
	// render gives "" for what is absent, and where something went wrong before.
	render := func(code, name string, t *mapping.Text, needed bool) string {
		if t == nil || wrong != nil {
			return ""
		}
		text, missing, err := t.Render(ctx, scope)
		var absent *mapping.AbsentError
		switch {
		case errors.As(err, &absent) && !needed:
			return ""
		case err != nil:
			wrong = nonsense(code, "event.%s: %s", name, err)
		case len(missing) > 0:
			wrong = nonsense(code, "event.%s: there is no mapping table yet when a webhook comes", name)
		case text == "" && needed:
			wrong = nonsense(code, "event.%s: it gives an empty text", name)
		}
		return text
	}
	e := &raffsyncv1.Event{
		Id:          render("EVENT_ID", "id", s.event.id, true),
		Type:        typeOf(render("EVENT_TYPE", "type", s.event.typ, true)),
		OrderingKey: render("EVENT_ORDERING_KEY", "ordering_key", s.event.orderingKey, true),
		Outlet:      render("EVENT_OUTLET", "outlet", s.event.outlet, false),
	}
	if len(m.body) > 0 { // a CloudEvent may have no data
		e.ContentType, e.Data = "application/json", &raffsyncv1.Event_BinaryData{BinaryData: m.body}
	}
	if at := render("EVENT_OCCURRED_AT", "occurred_at", s.event.occurredAt, false); at != "" {
		parsed, ok := parseTime(at)
		if !ok && wrong == nil {
			wrong = nonsense("EVENT_OCCURRED_AT", "event.occurred_at: it gives no time: expected RFC 3339, or seconds or milliseconds since 1970")
		}
		e.OccurredAt = timestamppb.New(parsed)
	}
	for _, r := range s.event.references {
		if value := render("EVENT_REFERENCES", "references."+r.name, r.text, false); value != "" {
			if e.References == nil {
				e.References = make(map[string]string, len(s.event.references))
			}
			e.References[r.name] = value
		}
	}
	if wrong == nil && e.Type == "" {
		wrong = nonsense("EVENT_TYPE", "event.type: it gives no letter and no digit")
	}
	if wrong == nil && strings.HasPrefix(e.Type, "raffsync.") {
		wrong = nonsense("EVENT_TYPE", "event.type: types that begin with raffsync. are for this program's own events")
	}
	return e, wrong
}

var validType = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*$`)

// typeOf makes a type of event, by the contract's rule, of what a sender calls it:
// "orders/create" is "orders.create".
func typeOf(text string) string {
	if validType.MatchString(text) {
		return text
	}
	var b strings.Builder
	separator := byte(0)
	for i := range len(text) {
		c := text[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '_' || c == '-':
			if separator == 0 {
				separator = c
			}
			continue
		default:
			separator = '.'
			continue
		}
		if separator != 0 && b.Len() > 0 {
			b.WriteByte(separator)
		}
		separator = 0
		b.WriteByte(c)
	}
	return b.String()
}
