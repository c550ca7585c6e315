package graph

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

func (r queryResolver) Controls(ctx context.Context) ([]*view.Control, error) {
	return seen(ctx, r.view, func(tx *view.Tx) ([]*view.Control, error) { return tx.Controls(ctx) })
}

func (r mutationResolver) Pause(ctx context.Context, in model.PauseInput) (*model.ControlPayload, error) {
	return r.pause(ctx, in, outbox.Paused)
}

func (r mutationResolver) Resume(ctx context.Context, in model.PauseInput) (*model.ControlPayload, error) {
	return r.pause(ctx, in, outbox.Automatic)
}

func (r mutationResolver) pause(ctx context.Context, in model.PauseInput, state outbox.ControlState) (*model.ControlPayload, error) {
	kind := outbox.ControlKind(strings.ToLower(string(in.Kind)))
	return r.control(ctx, "name", outbox.ControlRequest{RequestID: in.RequestID, Kind: kind, Name: in.Name, State: state, Reason: in.Reason})
}

func (r mutationResolver) ForceBreaker(ctx context.Context, in model.ForceBreakerInput) (*model.ControlPayload, error) {
	q := outbox.ControlRequest{RequestID: in.RequestID, Kind: outbox.OfBreaker, Name: in.Destination, Reason: in.Reason}
	if in.Order != model.BreakerOrderAutomatic {
		q.State = outbox.ControlState(in.Order)
	}
	return r.control(ctx, "destination", q)
}

// control has it done; named is the field of the input that names what is held.
func (r mutationResolver) control(ctx context.Context, named string, q outbox.ControlRequest) (*model.ControlPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	p := &model.ControlPayload{UserErrors: []*model.UserError{}}
	if strings.ContainsRune(q.Name, 0) {
		p.UserErrors = userErrors(named, model.UserErrorCodeInvalid, "a name holds no character U+0000")
		return p, nil
	}
	err = r.transitions.Control(ctx, actor, q)
	var refusal *outbox.Refusal
	switch {
	case err == nil:
		r.hub.Poke()
	case errors.As(err, &refusal) && refusal.Field != "":
		p.UserErrors = userErrors(refusal.Field, model.UserErrorCodeInvalid, refusal.Message)
	case errors.As(err, &refusal):
		p.UserErrors = userErrors("", model.UserErrorCodeRefused, refusal.Message)
	case errors.Is(err, outbox.ErrNotFound):
		p.UserErrors = userErrors(named, model.UserErrorCodeNotFound, fmt.Sprintf("there is no %s of this name", q.Kind))
		return p, nil
	case errors.Is(err, outbox.ErrConflict):
		p.UserErrors = userErrors("requestId", model.UserErrorCodeConflict, "this requestId was used for something else at the same time; ask again")
	default:
		return nil, err
	}
	all, err := queryResolver(r).Controls(ctx)
	for _, c := range all {
		if c.Kind == q.Kind && c.Name == q.Name {
			p.Control = c
		}
	}
	return p, err
}
