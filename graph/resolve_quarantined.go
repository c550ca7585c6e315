package graph

import (
	"context"
	"maps"
	"slices"

	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

func (r exceptionResolver) Quarantined(ctx context.Context, x *view.Exception, first int, after *string) (*model.QuarantinedConnection, error) {
	page, err := seen(ctx, r.view, func(tx *view.Tx) (view.Page[*view.Quarantined], error) {
		return tx.Quarantined(ctx, x.Number, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	return &model.QuarantinedConnection{Nodes: page.Nodes, PageInfo: pageInfo(page)}, nil
}

type quarantinedResolver struct{}

func (quarantinedResolver) Headers(_ context.Context, q *view.Quarantined) ([]*model.Header, error) {
	list := make([]*model.Header, 0, len(q.Headers))
	for _, name := range slices.Sorted(maps.Keys(q.Headers)) {
		list = append(list, &model.Header{Name: name, Value: q.Headers[name]})
	}
	return list, nil
}

func (quarantinedResolver) Body(_ context.Context, q *view.Quarantined) (*model.Payload, error) {
	return payload(q.Body), nil
}
