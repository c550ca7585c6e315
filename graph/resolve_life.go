package graph

import (
	"context"
	"errors"
	"math"
	"time"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/explain"
	"raffsync/outbox/view"
)

func explained(x *view.Exception, in model.Language) explain.Explanation {
	language := explain.English
	if in == model.LanguageID {
		language = explain.Indonesian
	}
	return x.Explain(language)
}

func (exceptionResolver) Title(_ context.Context, x *view.Exception, in model.Language) (string, error) {
	return explained(x, in).Title, nil
}

func (exceptionResolver) Explanation(_ context.Context, x *view.Exception, in model.Language) (*model.Explanation, error) {
	e := explained(x, in)
	return &model.Explanation{Title: e.Title, What: e.What, Why: e.Why, NextStep: e.NextStep, Turn: e.TurnName}, nil
}

// Turn is that of a team, and of whoever can usually mend it.
func (exceptionResolver) Turn(_ context.Context, x *view.Exception) (*model.Turn, error) {
	turn := &model.Turn{Team: x.TurnTeam, Role: model.TurnRole(x.Explain(explain.English).Turn)}
	if x.Status == outbox.AcknowledgedStatus {
		turn.Until = x.AcknowledgedUntil
	}
	return turn, nil
}

func (exceptionResolver) Cause(ctx context.Context, x *view.Exception) (*model.Cause, error) {
	c := &model.Cause{Rule: x.Rule, Code: x.Code, Field: x.Field, Suggestions: []*view.MappingSuggestion{}}
	g := x.Gap()
	if g == nil {
		return c, nil
	}
	c.Table, c.Value = &g.Table, &g.Value
	found, err := loadersOf(ctx).suggestions.Load(ctx, x)
	for i := range found {
		c.Suggestions = append(c.Suggestions, &found[i])
	}
	return c, err
}

func (exceptionResolver) Exposure(ctx context.Context, x *view.Exception) ([]*view.Exposure, error) {
	return loadersOf(ctx).exposures.Load(ctx, x.Number)
}

func (exceptionResolver) KeysBlocked(_ context.Context, x *view.Exception) (*int64, error) {
	if x.HoldsDestination && x.ClosedAt == nil {
		return nil, nil
	}
	return &x.Blocked, nil
}

func (exceptionResolver) OldestHeldAt(ctx context.Context, x *view.Exception) (*time.Time, error) {
	if !x.ByDestination() {
		return x.OldestAt, nil
	}
	oldest, err := loadersOf(ctx).oldest.Load(ctx, x.DestinationNumber)
	if oldest == nil || err != nil {
		return nil, err
	}
	return &oldest.AcceptedAt, nil
}

func (r exceptionResolver) OldestAge(ctx context.Context, x *view.Exception) (*float64, error) {
	at, err := r.OldestHeldAt(ctx, x)
	if at == nil || err != nil {
		return nil, err
	}
	return ageOf(*at), nil
}

func (exceptionResolver) Earlier(ctx context.Context, x *view.Exception) (*view.Exception, error) {
	if x.Earlier == nil {
		return nil, nil
	}
	return loadersOf(ctx).exceptions.Load(ctx, *x.Earlier)
}

func (exceptionResolver) History(ctx context.Context, x *view.Exception) ([]*view.LifeStep, error) {
	return loadersOf(ctx).lifeSteps.Load(ctx, x.Number)
}

func (exceptionResolver) Comments(ctx context.Context, x *view.Exception) ([]*view.LifeStep, error) {
	all, err := loadersOf(ctx).lifeSteps.Load(ctx, x.Number)
	comments := []*view.LifeStep{}
	for _, s := range all {
		if s.Action == string(outbox.StepComment) {
			comments = append(comments, s)
		}
	}
	return comments, err
}

func (r mutationResolver) AssignException(ctx context.Context, in model.AssignExceptionInput) (*model.ExceptionPayload, error) {
	return r.assign(ctx, in, outbox.StepAssign)
}

func (r mutationResolver) StartException(ctx context.Context, in model.AssignExceptionInput) (*model.ExceptionPayload, error) {
	return r.assign(ctx, in, outbox.StepStart)
}

func (r mutationResolver) assign(ctx context.Context, in model.AssignExceptionInput, step outbox.ExceptionStep) (*model.ExceptionPayload, error) {
	return r.stepException(ctx, in.ID, in.ExpectedVersion, outbox.ExceptionRequest{
		RequestID: in.RequestID, Reason: in.Reason, Step: step, Assignee: in.Assignee, Team: in.Team,
	})
}

func (r mutationResolver) CommentOnException(ctx context.Context, in model.ExceptionStepInput) (*model.ExceptionPayload, error) {
	return r.plainStep(ctx, in, outbox.StepComment)
}

func (r mutationResolver) ResolveException(ctx context.Context, in model.ExceptionStepInput) (*model.ExceptionPayload, error) {
	return r.plainStep(ctx, in, outbox.StepResolve)
}

func (r mutationResolver) RetryException(ctx context.Context, in model.ExceptionStepInput) (*model.ExceptionPayload, error) {
	return r.plainStep(ctx, in, outbox.StepRetry)
}

func (r mutationResolver) DismissException(ctx context.Context, in model.ExceptionStepInput) (*model.ExceptionPayload, error) {
	return r.plainStep(ctx, in, outbox.StepDismiss)
}

func (r mutationResolver) ReopenException(ctx context.Context, in model.ExceptionStepInput) (*model.ExceptionPayload, error) {
	return r.plainStep(ctx, in, outbox.StepReopen)
}

func (r mutationResolver) plainStep(ctx context.Context, in model.ExceptionStepInput, step outbox.ExceptionStep) (*model.ExceptionPayload, error) {
	return r.stepException(ctx, in.ID, in.ExpectedVersion, outbox.ExceptionRequest{RequestID: in.RequestID, Reason: in.Reason, Step: step})
}

// stepException has it done, and answers with the exception as it is by then.
func (r mutationResolver) stepException(ctx context.Context, id string, expected *int, q outbox.ExceptionRequest) (*model.ExceptionPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	p := &model.ExceptionPayload{UserErrors: []*model.UserError{}}
	if q.Exception, err = view.ParseExceptionID(id); err != nil {
		p.UserErrors = userErrors("id", model.UserErrorCodeInvalid, err.Error())
		return p, nil
	}
	if expected != nil {
		if *expected < 0 || *expected > math.MaxInt32 {
			p.UserErrors = userErrors("expectedVersion", model.UserErrorCodeInvalid, "this is no version that an exception could have")
			return p, nil
		}
		q.ExpectedVersion = new(int32(*expected))
	}
	done, err := r.transitions.StepException(ctx, actor, q)
	if p.UserErrors, err = stepErrors(err); err != nil {
		return nil, err
	}
	if len(p.UserErrors) == 0 {
		p.Released = done.Held
		r.hub.Poke()
	}
	found, err := seen(ctx, r.view, func(tx *view.Tx) (map[int64]*view.Exception, error) {
		return tx.ExceptionsByID(ctx, []int64{q.Exception})
	})
	p.Exception = found[q.Exception]
	return p, err
}

// stepErrors are what the caller can do something about.
func stepErrors(err error) ([]*model.UserError, error) {
	var refusal *outbox.Refusal
	switch {
	case err == nil:
		return []*model.UserError{}, nil
	case errors.As(err, &refusal) && refusal.Field != "":
		return userErrors(refusal.Field, model.UserErrorCodeInvalid, refusal.Message), nil
	case errors.As(err, &refusal):
		return userErrors("", model.UserErrorCodeRefused, refusal.Message), nil
	case errors.Is(err, outbox.ErrNotFound):
		return userErrors("id", model.UserErrorCodeNotFound, "there is no such exception"), nil
	}
	var conflict *outbox.StepConflict
	switch {
	case errors.As(err, &conflict):
		return userErrors("expectedVersion", model.UserErrorCodeConflict, conflict.Error()), nil
	case errors.Is(err, outbox.ErrConflict):
		return userErrors("requestId", model.UserErrorCodeConflict, "the same requestId came at once for something else; ask again"), nil
	}
	return nil, err
}
