package graph

import (
	"context"
	"time"

	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

// renewEvery is how often a subscription asks whether its reader still may read.
const renewEvery = time.Minute

type subscriptionResolver struct{ *resolver }

func (r subscriptionResolver) Changes(ctx context.Context, after *string, topics []model.Topic) (<-chan *model.Changes, error) {
	session := sessionOf(ctx)
	if session == nil {
		_, err := actorOf(ctx)
		return nil, err
	}
	want, err := topicsAsked(topics)
	if err != nil {
		return nil, err
	}
	var from time.Time
	if after != nil {
		var err error
		if from, err = view.ParseHorizon(*after); err != nil {
			return nil, err
		}
	}
	tenant := session.actor.Tenant
	feed, reader, err := r.hub.join(tenant)
	if err != nil {
		return nil, err
	}
	start, err := r.start(ctx, tenant, feed, from)
	if err != nil {
		r.hub.leave(feed, reader)
		return nil, err
	}
	out := make(chan *model.Changes)
	go func() {
		defer close(out)
		defer r.hub.leave(feed, reader)
		start.send(ctx, session, reader, want, out)
	}()
	return out, nil
}

// start is what a reader gets before the live batches.
type start struct {
	batches []*model.Changes
	caught  map[view.EntryID]struct{} // entries that are among them
	lagged  bool
}

// start reads what a reader has missed since its cursor. The reader has joined
// already: what is stored from now on comes to it by the feed.
func (r subscriptionResolver) start(ctx context.Context, tenant string, f *feed, from time.Time) (start, error) {
	select {
	case <-f.ready:
	case <-f.done:
		return start{}, errStopping
	case <-ctx.Done():
		return start{}, ctx.Err()
	}
	horizon, err := r.view.Horizon(ctx)
	if err != nil {
		return start{}, err
	}
	s := start{caught: make(map[view.EntryID]struct{})}
	err = r.view.As(ctx, tenant, func(tx *view.Tx) error {
		now, err := takePicture(ctx, tx)
		if err != nil {
			return err
		}
		opening := &model.Changes{Change: model.AllTopic, Totals: &now.totals, Destinations: now.destinations, Jobs: now.jobs, Cursor: view.FormatHorizon(horizon)}
		s.batches = append(s.batches, opening)
		if from.IsZero() {
			return nil
		}
		opening.Cursor = view.FormatHorizon(earlier(from, horizon))
		ids, err := tx.EntryIDsSince(ctx, view.FirstEntryAt(from), mostBehind+1)
		if err != nil {
			return err
		}
		if s.lagged = len(ids) > mostBehind; s.lagged {
			return nil
		}
		for len(ids) > 0 {
			n := min(batchSize, len(ids))
			entries, err := tx.Entries(ctx, ids[:n])
			if err != nil {
				return err
			}
			for _, id := range ids[:n] {
				s.caught[id] = struct{}{}
			}
			s.batches = append(s.batches, &model.Changes{Change: topicsOf(entries), Entries: entries, Cursor: view.FormatHorizon(earlier(ids[n-1].At, horizon))})
			ids = ids[n:]
		}
		return nil
	})
	return s, err
}

// send passes on first what was missed, then what the feed gives, as far as it is of
// interest, until the reader goes, may not read any more, or is too slow.
func (s *start) send(ctx context.Context, session *session, reader *subscriber, want topics, out chan<- *model.Changes) {
	cursor := ""
	pass := func(batch *model.Changes) bool {
		cursor = batch.Cursor
		if batch = want.of(batch); batch == nil {
			return true
		}
		select {
		case out <- batch:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for _, batch := range s.batches {
		if !pass(batch) {
			return
		}
	}
	if s.lagged {
		pass(&model.Changes{Cursor: cursor, Lagged: true})
		return
	}
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
			if session.renew(ctx) != nil {
				return
			}
		case batch, open := <-reader.batches:
			if !open {
				if reader.lagged {
					pass(&model.Changes{Cursor: cursor, Lagged: true})
				}
				return
			}
			if batch = s.without(batch); batch != nil && !pass(batch) {
				return
			}
		}
	}
}

// without leaves out entries that the reader has had while it caught up.
func (s *start) without(batch *model.Changes) *model.Changes {
	if len(s.caught) == 0 || len(batch.Entries) == 0 {
		return batch
	}
	rest := *batch
	rest.Entries = nil
	for _, e := range batch.Entries {
		if _, had := s.caught[e.Ref()]; !had {
			rest.Entries = append(rest.Entries, e)
		}
	}
	if len(rest.Entries) == 0 && rest.Totals == nil && rest.Destinations == nil && rest.Jobs == nil {
		return nil
	}
	return &rest
}
