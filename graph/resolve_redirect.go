package graph

import (
	"context"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
)

// RedirectDelivery goes by the same answers as the other transitions of a delivery.
func (r mutationResolver) RedirectDelivery(ctx context.Context, in model.RedirectDeliveryInput) (*model.RedirectPayload, error) {
	var done outbox.Redirected
	to := model.DeliveryTransitionInput{ID: in.ID, RequestID: in.RequestID, ExpectedVersion: in.ExpectedVersion, Reason: in.Reason}
	p, err := r.transit(ctx, to, func(ctx context.Context, actor outbox.Actor, q outbox.OperatorRequest) (outbox.Operated, error) {
		var err error
		done, err = r.replays.Redirect(ctx, actor, outbox.RedirectRequest{OperatorRequest: q, To: in.To, Route: value(in.Route)})
		return outbox.Operated{}, err
	})
	if err != nil {
		return nil, err
	}
	told := &model.RedirectPayload{Delivery: p.Delivery, Route: optional(done.Route), UserErrors: p.UserErrors}
	told.Replay = optional(int(done.Replay))
	return told, nil
}
