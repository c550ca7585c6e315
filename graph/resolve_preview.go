package graph

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

// Previews prepare what would be sent, and send nothing. They return [outbox.ErrNotFound]
// where there is nothing to prepare it of, or nothing to prepare it by.
type Previews interface {
	PreviewDelivery(ctx context.Context, tenant string, id outbox.DeliveryID) (*outbox.Preview, error)
	PreviewEvent(ctx context.Context, tenant string, id outbox.EventID, route string) (*outbox.Preview, error)
	// ShadowFindings of a route, or of all.
	ShadowFindings(ctx context.Context, tenant, route string, most int) ([]outbox.ShadowFinding, error)
	ResetShadow(context.Context, outbox.Actor, outbox.ShadowReset) (int64, error)
}

func (r mutationResolver) ResetShadow(ctx context.Context, in model.ResetShadowInput) (*model.ResetShadowPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	forgotten, err := r.previews.ResetShadow(ctx, actor, outbox.ShadowReset{RequestID: in.RequestID, Reason: in.Reason, Route: value(in.Route)})
	told, err := stepErrors(err)
	return &model.ResetShadowPayload{Forgotten: forgotten, UserErrors: told}, err
}

func (r deliveryResolver) Preview(ctx context.Context, d *view.Delivery) (*outbox.Preview, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	return orNone(r.previews.PreviewDelivery(ctx, actor.Tenant, d.Ref))
}

func (r queryResolver) PreviewEvent(ctx context.Context, event, route string) (*outbox.Preview, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	id, err := view.ParseEventID(event)
	if err != nil {
		return nil, err
	}
	return orNone(r.previews.PreviewEvent(ctx, actor.Tenant, id, route))
}

// orNone is null where there is nothing.
func orNone(p *outbox.Preview, err error) (*outbox.Preview, error) {
	if errors.Is(err, outbox.ErrNotFound) {
		return nil, nil
	}
	return p, err
}

type previewResolver struct{}

func (previewResolver) Destination(ctx context.Context, p *outbox.Preview) (*view.Destination, error) {
	return loadersOf(ctx).destinations.Load(ctx, p.Destination)
}

func (previewResolver) Requests(_ context.Context, p *outbox.Preview) ([]*model.PreviewRequest, error) {
	all := []*model.PreviewRequest{}
	for i := range p.Steps {
		if s := &p.Steps[i]; s.Request != nil && s.Prospect.Sends() {
			all = append(all, requestModel(s))
		}
	}
	return all, nil
}

func (previewResolver) Missing(_ context.Context, p *outbox.Preview) ([]*outbox.LookUp, error) {
	all := []*outbox.LookUp{}
	for i := range p.Steps {
		for j := range p.Steps[i].Missing {
			all = append(all, &p.Steps[i].Missing[j])
		}
	}
	return all, nil
}

func (previewResolver) DiffFromLastSent(_ context.Context, p *outbox.Preview) (*string, error) {
	var all strings.Builder
	for _, s := range p.Steps {
		if s.Change != nil {
			all.WriteString(s.Change.Diff)
		}
	}
	return optional(all.String()), nil
}

type previewStepResolver struct{}

func (previewStepResolver) Name(_ context.Context, s *outbox.PreviewStep) (*string, error) {
	return optional(s.Name), nil
}

func (previewStepResolver) Effect(_ context.Context, s *outbox.PreviewStep) (*string, error) {
	return optional(s.Effect), nil
}

func (previewStepResolver) Reason(_ context.Context, s *outbox.PreviewStep) (*string, error) {
	return optional(s.Reason), nil
}

func (previewStepResolver) Class(_ context.Context, s *outbox.PreviewStep) (*string, error) {
	return optional(s.Cause.Class), nil
}

func (previewStepResolver) Request(_ context.Context, s *outbox.PreviewStep) (*model.PreviewRequest, error) {
	if s.Request == nil {
		return nil, nil
	}
	return requestModel(s), nil
}

func (previewStepResolver) Existing(_ context.Context, s *outbox.PreviewStep) (*view.Effect, error) {
	e := s.Existing
	if e == nil {
		return nil, nil
	}
	return &view.Effect{
		Destination: s.Destination, Name: s.Effect, Revision: e.Revision, ExternalID: e.Receipt.ExternalID, URL: e.Receipt.URL,
		Fields: e.Receipt.Fields, Source: e.Source, Event: e.Event, At: &e.At,
	}, nil
}

func (previewStepResolver) Content(_ context.Context, s *outbox.PreviewStep) (*string, error) {
	return optional(hex.EncodeToString(s.Content)), nil
}

type previewChangeResolver struct{}

func (previewChangeResolver) Diff(_ context.Context, c *outbox.PreviewChange) (*string, error) {
	return optional(c.Diff), nil
}

func (previewChangeResolver) Note(_ context.Context, c *outbox.PreviewChange) (*string, error) {
	return optional(c.Note), nil
}

func requestModel(s *outbox.PreviewStep) *model.PreviewRequest {
	r := &model.PreviewRequest{Step: optional(s.Name), Method: s.Request.Method, URL: s.Request.URL, Headers: []*model.Reference{}, Body: *payload(s.Request.Body)}
	for _, name := range slices.Sorted(maps.Keys(s.Request.Header)) {
		for _, v := range s.Request.Header[name] {
			r.Headers = append(r.Headers, &model.Reference{Name: name, Value: v})
		}
	}
	return r
}
