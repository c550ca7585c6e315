package graph

import (
	"context"
	"errors"
	"math"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

// Transitions are what operators may do. All return [outbox.ErrNotFound],
// [outbox.ErrConflict] or an [*outbox.Refusal] where they do not.
type Transitions interface {
	Retry(context.Context, outbox.Actor, outbox.OperatorRequest) (outbox.Operated, error)
	Skip(context.Context, outbox.Actor, outbox.OperatorRequest) (outbox.Operated, error)
	Control(context.Context, outbox.Actor, outbox.ControlRequest) error
	StepException(context.Context, outbox.Actor, outbox.ExceptionRequest) (outbox.ExceptionStepped, error)
	Acknowledge(context.Context, outbox.Actor, outbox.AcknowledgeRequest) (outbox.Acknowledged, error)
}

type mutationResolver struct{ *resolver }

func (r mutationResolver) RetryDelivery(ctx context.Context, in model.DeliveryTransitionInput) (*model.DeliveryTransitionPayload, error) {
	return r.transit(ctx, in, r.transitions.Retry)
}

func (r mutationResolver) SkipDelivery(ctx context.Context, in model.DeliveryTransitionInput) (*model.DeliveryTransitionPayload, error) {
	return r.transit(ctx, in, r.transitions.Skip)
}

type transition func(context.Context, outbox.Actor, outbox.OperatorRequest) (outbox.Operated, error)

func (r mutationResolver) transit(ctx context.Context, in model.DeliveryTransitionInput, do transition) (*model.DeliveryTransitionPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	id, err := view.ParseDeliveryID(in.ID)
	if err != nil {
		return refused("id", model.UserErrorCodeInvalid, err.Error()), nil
	}
	if in.ExpectedVersion < 0 || in.ExpectedVersion > math.MaxInt32 {
		return refused("expectedVersion", model.UserErrorCodeInvalid, "this is no version that a delivery could have"), nil
	}
	_, err = do(ctx, actor, outbox.OperatorRequest{
		RequestID: in.RequestID, Delivery: id, ExpectedVersion: int32(in.ExpectedVersion), Reason: in.Reason,
	})
	var refusal *outbox.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Field != "":
		return refused(refusal.Field, model.UserErrorCodeInvalid, refusal.Message), nil
	case errors.As(err, &refusal):
		return r.withDelivery(ctx, id, refused("", model.UserErrorCodeRefused, refusal.Message))
	case errors.Is(err, outbox.ErrNotFound):
		return refused("id", model.UserErrorCodeNotFound, "there is no such delivery"), nil
	case errors.Is(err, outbox.ErrConflict):
		return r.withDelivery(ctx, id, refused("expectedVersion", model.UserErrorCodeConflict,
			"the delivery has changed since you read it; look at it again before you decide"))
	case err != nil:
		return nil, err
	}
	r.hub.Poke()
	return r.withDelivery(ctx, id, &model.DeliveryTransitionPayload{})
}

// withDelivery adds the delivery as it stands now.
func (r mutationResolver) withDelivery(ctx context.Context, id outbox.DeliveryID, p *model.DeliveryTransitionPayload) (*model.DeliveryTransitionPayload, error) {
	found, err := seen(ctx, r.view, func(tx *view.Tx) (map[outbox.DeliveryID]*view.Delivery, error) {
		return tx.Deliveries(ctx, []outbox.DeliveryID{id})
	})
	p.Delivery = found[id]
	if p.UserErrors == nil {
		p.UserErrors = []*model.UserError{}
	}
	return p, err
}

func refused(field string, code model.UserErrorCode, message string) *model.DeliveryTransitionPayload {
	return &model.DeliveryTransitionPayload{UserErrors: userErrors(field, code, message)}
}

func userErrors(field string, code model.UserErrorCode, message string) []*model.UserError {
	told := &model.UserError{Message: message, Code: code}
	if field != "" {
		told.Field = []string{"input", field}
	}
	return []*model.UserError{told}
}
