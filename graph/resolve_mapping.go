package graph

import (
	"context"
	"errors"
	"strings"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

// Mappings changes mapping tables. Its methods return [outbox.ErrConflict] or an
// [*outbox.Refusal] where they do not.
type Mappings interface {
	SetMappings(context.Context, outbox.Actor, outbox.SetMappings) (outbox.MappingChange, error)
	RemoveMappings(context.Context, outbox.Actor, outbox.RemoveMappings) (outbox.MappingChange, error)
	SetMappingDefault(context.Context, outbox.Actor, outbox.SetMappingDefault) (outbox.MappingChange, error)
	ImportMappings(context.Context, outbox.Actor, outbox.ImportMappings) (outbox.MappingChange, error)
	RehearseImport(context.Context, outbox.Actor, outbox.ImportMappings, func(outbox.MappingDifference) error) (outbox.MappingChange, error)
}

func (r queryResolver) MappingTables(ctx context.Context) ([]*view.MappingTable, error) {
	return seen(ctx, r.view, func(tx *view.Tx) ([]*view.MappingTable, error) { return tx.MappingTables(ctx) })
}

func (r queryResolver) Mapping(ctx context.Context, table string, destination, search *string, first int, after *string) (*model.MappingConnection, error) {
	return seen(ctx, r.view, func(tx *view.Tx) (*model.MappingConnection, error) {
		filter := view.MappingFilter{Table: table, Destination: value(destination), Search: value(search)}
		page, err := tx.MappingEntries(ctx, filter, first, value(after))
		if err != nil {
			return nil, err
		}
		found := &model.MappingConnection{Nodes: page.Nodes, PageInfo: pageInfo(page)}
		if found.Table, err = tx.MappingTable(ctx, table, value(destination)); err != nil {
			return nil, err
		}
		found.Version, err = tx.MappingVersion(ctx)
		return found, err
	})
}

func (r queryResolver) MappingHistory(ctx context.Context, table, destination, of *string, first int, after *string) (*model.MappingHistoryConnection, error) {
	filter := view.HistoryFilter{Table: value(table), Destination: value(destination), Value: value(of)}
	if filter.Table == "" && (filter.Destination != "" || filter.Value != "") {
		return nil, badInput("name the table that the destination or value is of")
	}
	page, err := seen(ctx, r.view, func(tx *view.Tx) (view.Page[*view.MappingRevision], error) {
		return tx.MappingHistory(ctx, filter, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	return &model.MappingHistoryConnection{Nodes: page.Nodes, PageInfo: pageInfo(page)}, nil
}

func (r queryResolver) MappingGaps(ctx context.Context, table, destination *string, first int, after *string) (*model.MappingGapConnection, error) {
	page, err := seen(ctx, r.view, func(tx *view.Tx) (view.Page[*view.MappingGap], error) {
		return tx.MappingGaps(ctx, view.GapFilter{Table: value(table), Destination: value(destination)}, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	return &model.MappingGapConnection{Nodes: page.Nodes, PageInfo: pageInfo(page)}, nil
}

type mappingRevisionResolver struct{}

func (mappingRevisionResolver) Value(_ context.Context, r *view.MappingRevision) (*string, error) {
	return optional(r.Value), nil
}

type mappingGapResolver struct{}

func (mappingGapResolver) Exception(ctx context.Context, g *view.MappingGap) (*view.Exception, error) {
	return loadersOf(ctx).exceptions.Load(ctx, g.Number)
}

func (r mutationResolver) SetMapping(ctx context.Context, in model.SetMappingInput) (*model.MappingPayload, error) {
	q := outbox.SetMappings{MappingRequest: mappingRequest(in.RequestID, in.Reason, in.ExpectedVersion), Table: mappingTable(in.Table, in.Destination)}
	for _, e := range in.Entries {
		q.Entries = append(q.Entries, outbox.MappingPair{Value: e.Value, Target: e.Target})
	}
	return changeMapping(ctx, r, q, r.mappings.SetMappings)
}

func (r mutationResolver) RemoveMapping(ctx context.Context, in model.RemoveMappingInput) (*model.MappingPayload, error) {
	return changeMapping(ctx, r, outbox.RemoveMappings{
		MappingRequest: mappingRequest(in.RequestID, in.Reason, in.ExpectedVersion), Table: mappingTable(in.Table, in.Destination),
		Values: in.Values, All: in.All,
	}, r.mappings.RemoveMappings)
}

func (r mutationResolver) SetMappingDefault(ctx context.Context, in model.SetMappingDefaultInput) (*model.MappingPayload, error) {
	if in.Target != nil && *in.Target == "" {
		return &model.MappingPayload{UserErrors: userErrors("target", model.UserErrorCodeInvalid, "the target is empty; null removes the default")}, nil
	}
	return changeMapping(ctx, r, outbox.SetMappingDefault{
		MappingRequest: mappingRequest(in.RequestID, in.Reason, in.ExpectedVersion), Table: mappingTable(in.Table, in.Destination),
		Target: value(in.Target),
	}, r.mappings.SetMappingDefault)
}

// changeMapping has it done.
func changeMapping[Q any](ctx context.Context, r mutationResolver, q Q, do func(context.Context, outbox.Actor, Q) (outbox.MappingChange, error)) (*model.MappingPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	done, err := do(ctx, actor, q)
	p := &model.MappingPayload{}
	if p.UserErrors, err = mappingErrors(err); err == nil && len(p.UserErrors) == 0 {
		p.Change, p.Released = &done, done.Released
		r.hub.Poke()
	}
	return p, err
}

// mostDifferences are told of a dry run.
const mostDifferences = 100

func (r mutationResolver) ImportMapping(ctx context.Context, in model.ImportMappingInput) (*model.ImportMappingPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	q := outbox.ImportMappings{
		MappingRequest: mappingRequest(in.RequestID, in.Reason, in.ExpectedVersion), Table: mappingTable(value(in.Table), in.Destination),
		Replace: in.Replace, Source: strings.NewReader(in.Text),
	}
	p := &model.ImportMappingPayload{Differences: []*model.MappingDifference{}}
	var done outbox.MappingChange
	if in.DryRun {
		done, err = r.mappings.RehearseImport(ctx, actor, q, func(d outbox.MappingDifference) error {
			if len(p.Differences) < mostDifferences {
				p.Differences = append(p.Differences, &model.MappingDifference{
					Table: d.Table.Name, Destination: optional(d.Table.Destination), Value: d.Value, From: optional(d.From), To: optional(d.To),
				})
			}
			return nil
		})
	} else {
		done, err = r.mappings.ImportMappings(ctx, actor, q)
	}
	if p.UserErrors, err = mappingErrors(err); err == nil && len(p.UserErrors) == 0 {
		p.Change, p.Repeated = &done, done.Repeated
		r.hub.Poke()
	}
	return p, err
}

func mappingRequest(id, reason string, expected *int64) outbox.MappingRequest {
	return outbox.MappingRequest{RequestID: id, Reason: reason, ExpectedVersion: expected}
}

func mappingTable(name string, destination *string) outbox.MappingTable {
	return outbox.MappingTable{Name: name, Destination: value(destination)}
}

// mappingErrors are what the caller can do something about; another error stays one.
func mappingErrors(err error) ([]*model.UserError, error) {
	var refusal *outbox.Refusal
	switch {
	case err == nil:
		return []*model.UserError{}, nil
	case errors.As(err, &refusal) && refusal.Field != "":
		return userErrors(refusal.Field, model.UserErrorCodeInvalid, refusal.Message), nil
	case errors.As(err, &refusal):
		return userErrors("", model.UserErrorCodeRefused, refusal.Message), nil
	case errors.Is(err, outbox.ErrConflict):
		return userErrors("expectedVersion", model.UserErrorCodeConflict,
			"an entry has changed since you read it, or the same requestId came at once for something else; look at the entries again before you decide"), nil
	}
	return nil, err
}
