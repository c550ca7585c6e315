package graph

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

// Edits change fields for one delivery. They return [outbox.ErrNotFound],
// [outbox.ErrConflict] or an [*outbox.Refusal] where they do not.
type Edits interface {
	AskEdit(context.Context, outbox.Actor, outbox.EditRequest) (outbox.Edit, error)
	DecideEdit(ctx context.Context, actor outbox.Actor, id int64, approve bool, reason string) (outbox.Edit, error)
	Edits(ctx context.Context, tenant, state string, before int64, first int) ([]outbox.Edit, error)
}

func (r queryResolver) Edits(ctx context.Context, state *model.EditState, first int, before *string) ([]*outbox.Edit, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	if first < 1 || first > view.MaxFirst {
		return nil, view.ErrPage
	}
	var id int64
	if before != nil {
		if id, err = numberID(*before); err != nil {
			return nil, view.ErrID
		}
	}
	found, err := r.edits.Edits(ctx, actor.Tenant, string(value(state)), id, first)
	return pointers(found), err
}

func (r mutationResolver) EditDelivery(ctx context.Context, in model.EditDeliveryInput) (*model.EditPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	id, err := view.ParseDeliveryID(in.ID)
	if err != nil {
		return r.editPayload(outbox.Edit{}, &outbox.Refusal{Field: "id", Message: err.Error()})
	}
	if in.ExpectedVersion < 0 || in.ExpectedVersion > math.MaxInt32 {
		return r.editPayload(outbox.Edit{}, &outbox.Refusal{Field: "expectedVersion", Message: "this is no version that a delivery could have"})
	}
	q := outbox.EditRequest{OperatorRequest: outbox.OperatorRequest{
		RequestID: in.RequestID, Delivery: id, ExpectedVersion: int32(in.ExpectedVersion), Reason: in.Reason,
	}}
	for _, c := range in.Changes {
		q.Changes = append(q.Changes, outbox.Change{Path: c.Path, Value: json.RawMessage(c.Value)})
	}
	return r.editPayload(r.edits.AskEdit(ctx, actor, q))
}

func (r mutationResolver) ApproveEdit(ctx context.Context, in model.DecideEditInput) (*model.EditPayload, error) {
	return r.decideEdit(ctx, in, true)
}

func (r mutationResolver) RejectEdit(ctx context.Context, in model.DecideEditInput) (*model.EditPayload, error) {
	return r.decideEdit(ctx, in, false)
}

func (r mutationResolver) decideEdit(ctx context.Context, in model.DecideEditInput, approve bool) (*model.EditPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	id, err := numberID(in.ID)
	if err != nil {
		return r.editPayload(outbox.Edit{}, outbox.ErrNotFound)
	}
	return r.editPayload(r.edits.DecideEdit(ctx, actor, id, approve, in.Reason))
}

func (r mutationResolver) editPayload(edit outbox.Edit, err error) (*model.EditPayload, error) {
	p := &model.EditPayload{UserErrors: []*model.UserError{}}
	var refusal *outbox.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Field != "":
		p.UserErrors = userErrors(refusal.Field, model.UserErrorCodeInvalid, refusal.Message)
	case errors.As(err, &refusal):
		p.UserErrors = userErrors("", model.UserErrorCodeRefused, refusal.Message)
	case errors.Is(err, outbox.ErrNotFound):
		p.UserErrors = userErrors("id", model.UserErrorCodeNotFound, "there is no such thing to edit or to decide about")
	case errors.Is(err, outbox.ErrConflict):
		p.UserErrors = userErrors("expectedVersion", model.UserErrorCodeConflict, "the delivery has changed since you read it; look at it again before you decide")
	case err != nil:
		return nil, err
	default:
		p.Edit = &edit
		r.hub.Poke()
	}
	return p, nil
}

type editResolver struct{}

func (editResolver) ID(_ context.Context, e *outbox.Edit) (string, error) {
	return strconv.FormatInt(e.ID, 10), nil
}

func (editResolver) Delivery(ctx context.Context, e *outbox.Edit) (*view.Delivery, error) {
	return loadersOf(ctx).deliveries.Load(ctx, e.Delivery)
}

func (editResolver) State(_ context.Context, e *outbox.Edit) (model.EditState, error) {
	return model.EditState(e.State), nil
}
