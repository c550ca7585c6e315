package graph

import (
	"slices"

	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

// topics are what a reader of the live feed wants to be told of; nil is all of it.
type topics []model.Topic

func topicsAsked(asked []model.Topic) (topics, error) {
	if asked != nil && len(asked) == 0 {
		return nil, badInput("name a topic at least, or leave topics out for all of them")
	}
	return asked, nil
}

func (t topics) want(topic model.Topic) bool { return t == nil || slices.Contains(t, topic) }

// of is the batch as far as it is of interest; nil where nothing of it is. The feed's own
// batch, which others read too, stays as it is.
func (t topics) of(batch *model.Changes) *model.Changes {
	if t == nil || batch.Lagged {
		return batch
	}
	mine := &model.Changes{Cursor: batch.Cursor}
	for _, topic := range batch.Change {
		mine.Change = with(mine.Change, topic, t.want(topic))
	}
	if len(mine.Change) == 0 {
		return nil
	}
	if t.want(model.TopicBoard) {
		mine.Totals, mine.Destinations = batch.Totals, batch.Destinations
	}
	if t.want(model.TopicJobs) {
		mine.Jobs = batch.Jobs
	}
	for _, e := range batch.Entries {
		if t.want(model.TopicTimeline) || e.Exception != nil && t.want(model.TopicExceptions) {
			mine.Entries = append(mine.Entries, e)
		}
	}
	return mine
}

// topicsOf are those that entries are about.
func topicsOf(entries []*view.Entry) (all []model.Topic) {
	all = with(all, model.TopicTimeline, len(entries) > 0)
	return with(all, model.TopicExceptions, slices.ContainsFunc(entries, func(e *view.Entry) bool { return e.Exception != nil }))
}

// with adds a topic, where it is one, once.
func with(all []model.Topic, topic model.Topic, is bool) []model.Topic {
	if !is || slices.Contains(all, topic) {
		return all
	}
	return append(all, topic)
}
