package graph

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

// Jobs do the same with many deliveries. They return [outbox.ErrNotFound], an
// [*outbox.JobConflict] or an [*outbox.Refusal] where they do not.
type Jobs interface {
	PreviewJob(ctx context.Context, tenant string, f outbox.JobFilter) (outbox.JobPreview, error)
	StartJob(context.Context, outbox.Actor, outbox.JobRequest) (outbox.Job, error)
	ChangeJob(ctx context.Context, actor outbox.Actor, id int64, to, reason string) (outbox.Job, error)
	Jobs(ctx context.Context, tenant string, before int64, first int) ([]outbox.Job, error)
	Job(ctx context.Context, tenant string, id int64) (outbox.Job, error)
	JobFailures(ctx context.Context, tenant string, id, after int64, first int) ([]outbox.JobFailure, error)
}

func (r queryResolver) Jobs(ctx context.Context, first int, before *string) ([]*outbox.Job, error) {
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
	found, err := r.jobs.Jobs(ctx, actor.Tenant, id, first)
	return pointers(found), err
}

func (r queryResolver) Job(ctx context.Context, id string) (*outbox.Job, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	number, err := numberID(id)
	if err != nil {
		return nil, view.ErrID
	}
	j, err := r.jobs.Job(ctx, actor.Tenant, number)
	if errors.Is(err, outbox.ErrNotFound) {
		return nil, nil
	}
	return &j, err
}

// numberID reads the id of what is named by its number.
func numberID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err == nil && id < 1 {
		err = view.ErrID
	}
	return id, err
}

func pointers[T any](values []T) []*T {
	all := make([]*T, len(values))
	for i := range values {
		all[i] = &values[i]
	}
	return all
}

func (r queryResolver) JobPreview(ctx context.Context, in model.JobFilter) (*model.JobPreviewPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	p := &model.JobPreviewPayload{UserErrors: []*model.UserError{}}
	filter, err := jobFilter(&in)
	var found outbox.JobPreview
	if err == nil {
		found, err = r.jobs.PreviewJob(ctx, actor.Tenant, filter)
	}
	var refusal *outbox.Refusal
	if errors.As(err, &refusal) {
		p.UserErrors = append(p.UserErrors, jobRefused(refusal, ""))
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	p.Preview = &model.JobPreview{
		Total: found.Total, NeedsAction: found.NeedsAction, Unknown: found.Unknown, Taken: found.Taken, First: found.First, Last: found.Last,
	}
	return p, nil
}

func (r mutationResolver) Reprocess(ctx context.Context, in model.ReprocessInput) (*model.JobPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	filter, err := jobFilter(&in.Filter)
	if err != nil {
		return r.jobPayload(outbox.Job{}, err)
	}
	return r.jobPayload(r.jobs.StartJob(ctx, actor, outbox.JobRequest{
		RequestID: in.RequestID, Action: outbox.JobAction(in.Action), Filter: filter, Rate: in.Rate, Reason: in.Reason,
	}))
}

func (r mutationResolver) ChangeJob(ctx context.Context, in model.ChangeJobInput) (*model.JobPayload, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	id, err := numberID(in.ID)
	if err != nil {
		return r.jobPayload(outbox.Job{}, outbox.ErrNotFound)
	}
	return r.jobPayload(r.jobs.ChangeJob(ctx, actor, id, string(in.State), in.Reason))
}

func (r mutationResolver) jobPayload(job outbox.Job, err error) (*model.JobPayload, error) {
	p := &model.JobPayload{UserErrors: []*model.UserError{}}
	var refusal *outbox.Refusal
	var conflict *outbox.JobConflict
	switch {
	case errors.As(err, &refusal):
		p.UserErrors = append(p.UserErrors, jobRefused(refusal, "input"))
	case errors.As(err, &conflict):
		p.UserErrors = userErrors("filter", model.UserErrorCodeConflict, conflict.Error())
	case errors.Is(err, outbox.ErrNotFound):
		p.UserErrors = userErrors("id", model.UserErrorCodeNotFound, "there is no such job")
	case err != nil:
		return nil, err
	default:
		p.Job = &job
		r.hub.Poke()
	}
	return p, nil
}

// jobRefused says of which input a refusal is, below a path.
func jobRefused(refusal *outbox.Refusal, path string) *model.UserError {
	told := &model.UserError{Message: refusal.Message, Code: model.UserErrorCodeRefused}
	if refusal.Field == "" {
		return told
	}
	told.Code = model.UserErrorCodeInvalid
	if path != "" {
		told.Field = append(told.Field, path)
	}
	switch refusal.Field {
	case "destination", "source", "exception", "deliveries":
		told.Field = append(told.Field, "filter", refusal.Field)
	default:
		told.Field = append(told.Field, refusal.Field)
	}
	return told
}

func jobFilter(in *model.JobFilter) (f outbox.JobFilter, err error) {
	f = outbox.JobFilter{
		Destination: value(in.Destination), Class: value(in.Class), State: string(value(in.State)), Source: value(in.Source), Type: value(in.Type), Outlet: value(in.Outlet),
		AcceptedFrom: value(in.AcceptedFrom), AcceptedUntil: value(in.AcceptedUntil), HeldFrom: value(in.HeldFrom), HeldUntil: value(in.HeldUntil), Everything: in.Everything,
	}
	if in.Exception != nil {
		if f.Exception, err = view.ParseExceptionID(*in.Exception); err != nil {
			return f, &outbox.Refusal{Field: "exception", Message: err.Error()}
		}
	}
	if in.Deliveries != nil && len(in.Deliveries) == 0 {
		return f, &outbox.Refusal{Field: "deliveries", Message: "deliveries names none; leave it out to go by the rest of the filter"}
	}
	for _, text := range in.Deliveries {
		id, err := view.ParseDeliveryID(text)
		if err != nil {
			return f, &outbox.Refusal{Field: "deliveries", Message: err.Error()}
		}
		f.Deliveries = append(f.Deliveries, id)
	}
	return f, nil
}

type jobResolver struct{ *resolver }

func (jobResolver) ID(_ context.Context, j *outbox.Job) (string, error) {
	return strconv.FormatInt(j.ID, 10), nil
}

func (jobResolver) Action(_ context.Context, j *outbox.Job) (model.JobAction, error) {
	return model.JobAction(j.Action), nil
}

func (jobResolver) State(_ context.Context, j *outbox.Job) (model.JobState, error) {
	return model.JobState(j.State), nil
}

// Filter has the ids that callers know.
func (jobResolver) Filter(_ context.Context, j *outbox.Job) (json.RawMessage, error) {
	own := j.Filter
	own.Deliveries, own.Exception = nil, 0
	told := struct {
		outbox.JobFilter
		Deliveries []string `json:"deliveries,omitempty"`
		Exception  string   `json:"exception,omitempty"`
	}{JobFilter: own}
	for _, d := range j.Filter.Deliveries {
		told.Deliveries = append(told.Deliveries, view.FormatDeliveryID(d))
	}
	if j.Filter.Exception != 0 {
		told.Exception = view.FormatExceptionID(j.Filter.Exception)
	}
	return json.Marshal(told)
}

func (r jobResolver) Failures(ctx context.Context, j *outbox.Job, first int, after *int64) ([]*outbox.JobFailure, error) {
	if first < 1 || first > view.MaxFirst {
		return nil, view.ErrPage
	}
	found, err := r.jobs.JobFailures(ctx, j.Tenant, j.ID, value(after), first)
	return pointers(found), err
}

type jobFailureResolver struct{}

func (jobFailureResolver) Delivery(ctx context.Context, f *outbox.JobFailure) (*view.Delivery, error) {
	return loadersOf(ctx).deliveries.Load(ctx, f.Delivery)
}
