package graph

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

// feed polls one tenant's timeline. Its goroutine owns what stands below readers.
type feed struct {
	hub     *hub
	tenant  string
	poked   chan struct{}
	ready   chan struct{}            // closed after the first poll
	done    chan struct{}            // closed after the last
	readers map[*subscriber]struct{} // under the hub's lock

	// Every entry before the horizon has been given out. Known are those that were
	// given out and lie behind it, where late commits may still add others.
	horizon time.Time
	known   map[view.EntryID]struct{}
	last    picture
}

func newFeed(h *hub, tenant string) *feed {
	return &feed{
		hub: h, tenant: tenant, poked: make(chan struct{}, 1), ready: make(chan struct{}), done: make(chan struct{}),
		readers: make(map[*subscriber]struct{}), known: make(map[view.EntryID]struct{}),
	}
}

func (f *feed) poke() {
	select {
	case f.poked <- struct{}{}:
	default:
	}
}

// run polls until nobody reads, or the context ends.
func (f *feed) run(ctx context.Context) {
	defer close(f.done)
	defer f.hub.endAll(f, false)
	for !f.hub.retire(f) {
		wait := pollEvery
		if err := f.runOnce(ctx); err != nil && ctx.Err() == nil {
			f.hub.log.WarnContext(ctx, "the live feed is interrupted; it goes on by itself", "tenant", f.tenant, "error", err)
			wait = pollTimeout
		}
		if !pause(ctx, pollGap, nil) || !pause(ctx, wait, f.poked) {
			return
		}
	}
}

// pause waits for a time or for a poke, and returns false where the context ends.
func pause(ctx context.Context, d time.Duration, poked <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-poked:
	}
	return true
}

var errFlood = errors.New("more happens than a feed can show")

// runOnce is one poll. The horizon is asked for before anything is read: whatever is
// stored before it is seen by the reads.
func (f *feed) runOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	horizon, err := f.hub.view.Horizon(ctx)
	if err != nil {
		return err
	}
	first := f.horizon.IsZero()
	if first {
		f.horizon = horizon
	}
	since := f.horizon
	if horizon.Before(since) {
		horizon = since // what was complete stays so
	}
	var window []view.EntryID
	var fresh []*view.Entry
	var now picture
	err = f.hub.view.As(ctx, f.tenant, func(tx *view.Tx) (err error) {
		if window, err = tx.EntryIDsSince(ctx, view.FirstEntryAt(since), mostWindow+1); err != nil {
			return err
		}
		if len(window) > mostWindow {
			return errFlood
		}
		if !first {
			if fresh, err = tx.Entries(ctx, f.unknown(window)); err != nil {
				return err
			}
		}
		now, err = takePicture(ctx, tx)
		return err
	})
	if err != nil {
		if first || errors.Is(err, errFlood) {
			f.horizon = time.Time{} // begin anew
			clear(f.known)
		}
		if errors.Is(err, errFlood) {
			f.hub.endAll(f, true)
			return nil
		}
		return err
	}
	f.horizon = horizon
	clear(f.known)
	for _, id := range window {
		if !id.At.Before(horizon) {
			f.known[id] = struct{}{}
		}
	}
	f.give(fresh, now, first)
	return nil
}

func (f *feed) unknown(window []view.EntryID) []view.EntryID {
	var ids []view.EntryID
	for _, id := range window {
		if _, known := f.known[id]; !known {
			ids = append(ids, id)
		}
	}
	return ids
}

// give hands out what is new, in batches; only the last one's cursor has moved on.
func (f *feed) give(fresh []*view.Entry, now picture, first bool) {
	totals, destinations, jobs := now.since(f.last)
	queue := now.totals.NeedsAction != f.last.totals.NeedsAction || now.totals.Late != f.last.totals.Late
	f.last = now
	if first {
		select {
		case <-f.ready:
		default:
			close(f.ready)
		}
		return
	}
	if len(fresh) == 0 && totals == nil && destinations == nil && jobs == nil {
		return
	}
	for len(fresh) > batchSize {
		f.hub.broadcast(f, &model.Changes{Cursor: view.FormatHorizon(earlier(fresh[0].At, f.horizon)), Change: topicsOf(fresh[:batchSize]), Entries: fresh[:batchSize]})
		fresh = fresh[batchSize:]
	}
	last := &model.Changes{Cursor: view.FormatHorizon(f.horizon), Change: topicsOf(fresh), Entries: fresh, Totals: totals, Destinations: destinations, Jobs: jobs}
	last.Change = with(last.Change, model.TopicExceptions, queue)
	last.Change = with(last.Change, model.TopicBoard, totals != nil || destinations != nil)
	last.Change = with(last.Change, model.TopicJobs, jobs != nil)
	f.hub.broadcast(f, last)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// picture is what a batch shows besides entries.
type picture struct {
	totals       view.Totals
	destinations []*view.Destination
	jobs         []*outbox.Job
}

func takePicture(ctx context.Context, tx *view.Tx) (p picture, err error) {
	if p.totals, err = tx.Totals(ctx); err != nil {
		return p, err
	}
	if p.destinations, err = tx.Destinations(ctx); err != nil {
		return p, err
	}
	p.jobs, err = tx.JobsGoing(ctx)
	return p, err
}

// since tells what has changed: nil where nothing has.
func (p picture) since(last picture) (totals *view.Totals, destinations []*view.Destination, jobs []*outbox.Job) {
	if p.totals != last.totals {
		totals = &p.totals
	}
	if !reflect.DeepEqual(p.destinations, last.destinations) {
		destinations = p.destinations
	}
	for _, j := range p.jobs {
		if !slices.ContainsFunc(last.jobs, func(before *outbox.Job) bool { return reflect.DeepEqual(j, before) }) {
			jobs = append(jobs, j)
		}
	}
	return totals, destinations, jobs
}
