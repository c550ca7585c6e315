package graph

import (
	"context"
	"errors"
	"fmt"
	"math"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

// Replays make new deliveries from old events. They return [outbox.ErrNotFound] or an
// [*outbox.Refusal] where they do not.
type Replays interface {
	PreviewReplay(ctx context.Context, tenant, destination string, f outbox.ReplayFilter, most int) (outbox.ReplayPreview, error)
	StartReplay(context.Context, outbox.Actor, outbox.ReplayRequest) (outbox.Replay, error)
	ChangeReplay(ctx context.Context, actor outbox.Actor, number int32, to, reason string) (outbox.Replay, error)
	Replays(ctx context.Context, tenant string, before int32, first int) ([]outbox.Replay, error)
	// Redirect may return [outbox.ErrConflict] as well.
	Redirect(context.Context, outbox.Actor, outbox.RedirectRequest) (outbox.Redirected, error)
}

func (r queryResolver) Replays(ctx context.Context, first int, before *int) ([]*model.Replay, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	if first < 1 || first > view.MaxFirst {
		return nil, view.ErrPage
	}
	if b := value(before); b < 0 || b > math.MaxInt32 {
		return nil, badInput("before must be the number of a replay")
	}
	found, err := r.replays.Replays(ctx, actor.Tenant, int32(value(before)), first)
	all := make([]*model.Replay, len(found))
	for i := range found {
		all[i] = replayModel(&found[i])
	}
	return all, err
}

func (r queryResolver) ReplayPreview(ctx context.Context, destination string, filter model.ReplayFilter, rate int) (*model.ReplayPreviewPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	p := &model.ReplayPreviewPayload{UserErrors: []*model.UserError{}}
	if rate < 1 || rate > outbox.MaxReplayRate {
		p.UserErrors = append(p.UserErrors, replayRefused(&outbox.Refusal{Field: "rate", Message: fmt.Sprintf("rate must be 1 to %d deliveries a second", outbox.MaxReplayRate)}, ""))
		return p, nil
	}
	found, err := r.replays.PreviewReplay(ctx, actor.Tenant, destination, replayFilter(&filter), view.Budget)
	var refusal *outbox.Refusal
	if errors.As(err, &refusal) {
		p.UserErrors = append(p.UserErrors, replayRefused(refusal, ""))
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	p.Preview = &model.ReplayPreview{
		Deliveries: found.Matching, Unwanted: found.Unwanted, First: found.First, Last: found.Last,
		Seconds: float64(found.Matching) / float64(rate), Complete: found.Complete,
	}
	return p, nil
}

func (r mutationResolver) StartReplay(ctx context.Context, in model.StartReplayInput) (*model.ReplayPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	started, err := r.replays.StartReplay(ctx, actor, outbox.ReplayRequest{
		RequestID: in.RequestID, Destination: in.Destination, Filter: replayFilter(&in.Filter), Rate: in.Rate, Reason: in.Reason,
	})
	return r.replayPayload(started, err)
}

func (r mutationResolver) ChangeReplay(ctx context.Context, in model.ChangeReplayInput) (*model.ReplayPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	if in.Number < 0 || in.Number > math.MaxInt32 {
		return r.replayPayload(outbox.Replay{}, outbox.ErrNotFound)
	}
	changed, err := r.replays.ChangeReplay(ctx, actor, int32(in.Number), string(in.State), in.Reason)
	return r.replayPayload(changed, err)
}

func (r mutationResolver) replayPayload(replay outbox.Replay, err error) (*model.ReplayPayload, error) {
	p := &model.ReplayPayload{UserErrors: []*model.UserError{}}
	var refusal *outbox.Refusal
	switch {
	case errors.As(err, &refusal):
		p.UserErrors = append(p.UserErrors, replayRefused(refusal, "input"))
	case errors.Is(err, outbox.ErrNotFound):
		p.UserErrors = append(p.UserErrors, &model.UserError{Field: []string{"input", "number"}, Code: model.UserErrorCodeNotFound, Message: "there is no such replay"})
	case err != nil:
		return nil, err
	default:
		p.Replay = replayModel(&replay)
		r.hub.Poke()
	}
	return p, nil
}

// replayRefused says of which input a refusal is, below a path.
func replayRefused(refusal *outbox.Refusal, path string) *model.UserError {
	told := &model.UserError{Message: refusal.Message, Code: model.UserErrorCodeRefused}
	if refusal.Field == "" {
		return told
	}
	told.Code = model.UserErrorCodeInvalid
	if path != "" {
		told.Field = append(told.Field, path)
	}
	switch refusal.Field {
	case "from", "source":
		told.Field = append(told.Field, "filter", refusal.Field)
	default:
		told.Field = append(told.Field, refusal.Field)
	}
	return told
}

func replayFilter(f *model.ReplayFilter) outbox.ReplayFilter {
	return outbox.ReplayFilter{
		From: f.From, Until: value(f.Until), Source: value(f.Source), Type: value(f.Type),
		Outlet: value(f.Outlet), Reference: value(f.Reference), Unrouted: f.Unrouted,
	}
}

func replayModel(r *outbox.Replay) *model.Replay {
	return &model.Replay{
		Number: int(r.Number), Destination: r.Destination, State: model.ReplayState(r.State), From: r.Filter.From, Until: r.Filter.Until,
		Through: r.Through, Rate: int(r.Rate), Made: r.Made, Unwanted: r.Unwanted, RequestedAt: r.RequestedAt, EndedAt: r.EndedAt,
		Actor: r.Actor, Reason: r.Reason,
	}
}
