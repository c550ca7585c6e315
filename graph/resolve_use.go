package graph

import (
	"context"
	"strings"
	"time"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func (r queryResolver) MappingUses(ctx context.Context, table, of, destination string, since *time.Time, target *string, first int, after *string) (*model.MappingUseConnection, error) {
	if table == "" || of == "" || destination == "" {
		return nil, badInput("uses are of a table, a value and a destination")
	}
	uses, err := seen(ctx, r.view, func(tx *view.Tx) (view.MappingUses, error) {
		return tx.MappingUses(ctx, view.UseFilter{Table: table, Value: of, Destination: destination, Since: value(since), Target: value(target)}, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	return &model.MappingUseConnection{Now: optional(uses.Now), Nodes: uses.Nodes, PageInfo: pageInfo(uses.Page)}, nil
}

type mappingUseResolver struct{}

func (mappingUseResolver) Delivery(ctx context.Context, u *view.MappingUse) (*view.Delivery, error) {
	return loadersOf(ctx).deliveries.Load(ctx, u.Ref)
}

func (mappingUseResolver) Source(_ context.Context, u *view.MappingUse) (*string, error) {
	return optional(u.Source), nil
}

func (mappingUseResolver) Event(_ context.Context, u *view.MappingUse) (*string, error) {
	return optional(u.EventID), nil
}

func (mappingUseResolver) Step(_ context.Context, u *view.MappingUse) (int, error) {
	return int(u.Step), nil
}

func (mappingUseResolver) StepName(_ context.Context, u *view.MappingUse) (*string, error) {
	return optional(u.StepName), nil
}

func (mappingUseResolver) Effect(_ context.Context, u *view.MappingUse) (*string, error) {
	return optional(u.Effect), nil
}

func (mappingUseResolver) Kind(_ context.Context, u *view.MappingUse) (*raffsyncv1.OutcomeKind, error) {
	return optional(u.Kind), nil
}

func (mappingUseResolver) Receipt(_ context.Context, u *view.MappingUse) (*model.Receipt, error) {
	if u.ExternalID == "" && u.URL == "" {
		return nil, nil
	}
	return &model.Receipt{ExternalID: optional(u.ExternalID), URL: optional(u.URL), Fields: []*model.Reference{}}, nil
}

func (r queryResolver) ShadowFindings(ctx context.Context, route *string) ([]*outbox.ShadowFinding, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	if strings.ContainsRune(value(route), 0) {
		return nil, view.ErrText
	}
	found, err := r.previews.ShadowFindings(ctx, actor.Tenant, value(route), outbox.MaxShadowFindings)
	all := make([]*outbox.ShadowFinding, len(found))
	for i := range found {
		all[i] = &found[i]
	}
	return all, err
}

type shadowFindingResolver struct{}

func (shadowFindingResolver) Class(_ context.Context, f *outbox.ShadowFinding) (*string, error) {
	return optional(f.Class), nil
}

func (shadowFindingResolver) Field(_ context.Context, f *outbox.ShadowFinding) (*string, error) {
	return optional(f.Field), nil
}

func (shadowFindingResolver) Code(_ context.Context, f *outbox.ShadowFinding) (*string, error) {
	return optional(f.Code), nil
}

func (shadowFindingResolver) Event(_ context.Context, f *outbox.ShadowFinding) (*string, error) {
	return optional(f.Event), nil
}
