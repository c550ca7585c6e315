package graph

import (
	"context"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
)

// Verdicts are what people have seen at platforms that cannot be asked. They return what
// [Transitions] do.
type Verdicts interface {
	MarkDelivered(context.Context, outbox.Actor, outbox.MarkRequest) (outbox.Operated, error)
	SendAnyway(context.Context, outbox.Actor, outbox.OperatorRequest) (outbox.Operated, error)
}

func (r mutationResolver) MarkDelivered(ctx context.Context, in model.MarkDeliveredInput) (*model.DeliveryTransitionPayload, error) {
	receipt := outbox.Receipt{ExternalID: in.ExternalID, URL: value(in.URL)}
	for _, f := range in.Fields {
		if _, twice := receipt.Fields[f.Name]; twice {
			return refused("fields", model.UserErrorCodeInvalid, "a field is named twice"), nil
		}
		if receipt.Fields == nil {
			receipt.Fields = make(map[string]string)
		}
		receipt.Fields[f.Name] = f.Value
	}
	asked := model.DeliveryTransitionInput{RequestID: in.RequestID, ID: in.ID, ExpectedVersion: in.ExpectedVersion, Reason: in.Reason}
	return r.transit(ctx, asked, func(ctx context.Context, actor outbox.Actor, q outbox.OperatorRequest) (outbox.Operated, error) {
		return r.verdicts.MarkDelivered(ctx, actor, outbox.MarkRequest{OperatorRequest: q, Receipt: receipt})
	})
}

func (r mutationResolver) SendAnyway(ctx context.Context, in model.SendAnywayInput) (*model.DeliveryTransitionPayload, error) {
	if !in.AcknowledgeRisk {
		return refused("acknowledgeRisk", model.UserErrorCodeInvalid, "look at the platform first: if it is there after all, it may be there twice by then; say that you know"), nil
	}
	asked := model.DeliveryTransitionInput{RequestID: in.RequestID, ID: in.ID, ExpectedVersion: in.ExpectedVersion, Reason: in.Reason}
	return r.transit(ctx, asked, r.verdicts.SendAnyway)
}
