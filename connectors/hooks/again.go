package hooks

import (
	"context"
	"net/http"
)

// Kept is a quarantined webhook, as much as was kept of it.
type Kept struct {
	Tenant      string
	Source      int32
	ContentType string
	Headers     map[string]string
	Query       string
	Body        []byte
	BodyBytes   int64
	BodySHA256  [32]byte
}

// Again evaluates a quarantined webhook by today's expressions, and returns nil once its
// event is durable: one that the source sent meanwhile is the same event. Where it still
// makes no sense the error is a [*Nonsense]; after any other, it may be tried again.
func (r *Receiver) Again(ctx context.Context, k Kept) error {
	var source *Source
	for _, s := range r.sources.Load().byTenant {
		if s.Tenant == k.Tenant && s.ID == k.Source {
			source = s
		}
	}
	if source == nil {
		return nonsense("SOURCE_GONE", "its source is not received here any more")
	}
	h := http.Header{}
	for name, value := range k.Headers {
		h.Set(name, value)
	}
	h.Set("Content-Type", k.ContentType)
	event, err := source.eventOf(ctx, h, k.Query, &raw{data: k.Body, total: k.BodyBytes}, k.BodySHA256)
	if err != nil {
		return err
	}
	p, err := r.publishers.of(source)
	if err != nil {
		return err
	}
	result, err := p.publish(ctx, event)
	if why := invalid(result, err); why != nil {
		return why
	}
	return err
}
