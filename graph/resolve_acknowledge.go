package graph

import (
	"context"
	"math"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

func (r mutationResolver) AcknowledgeException(ctx context.Context, in model.AcknowledgeExceptionInput) (*model.AcknowledgeExceptionPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	p := &model.AcknowledgeExceptionPayload{UserErrors: []*model.UserError{}}
	number, err := view.ParseExceptionID(in.ID)
	if err != nil {
		p.UserErrors = userErrors("id", model.UserErrorCodeInvalid, err.Error())
		return p, nil
	}
	q := outbox.AcknowledgeRequest{RequestID: in.RequestID, Reason: in.Reason, Exception: number, Until: in.Until}
	if v := in.ExpectedVersion; v != nil {
		if *v < 0 || *v > math.MaxInt32 {
			p.UserErrors = userErrors("expectedVersion", model.UserErrorCodeInvalid, "this is no version that an exception could have")
			return p, nil
		}
		version := int32(*v)
		q.ExpectedVersion = &version
	}
	_, err = r.transitions.Acknowledge(ctx, actor, q)
	if p.UserErrors, err = stepErrors(err); err != nil {
		return nil, err
	}
	if len(p.UserErrors) == 0 {
		r.hub.Poke()
	}
	found, err := seen(ctx, r.view, func(tx *view.Tx) (map[int64]*view.Exception, error) {
		return tx.ExceptionsByID(ctx, []int64{number})
	})
	p.Exception = found[number]
	return p, err
}
