package graph

import (
	"context"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vikstrous/dataloadgen"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

// loaders gather what the fields of one response ask for, so that each kind of thing
// costs one statement, however many nodes ask. They live as long as the response:
// nothing is remembered across two.
type loaders struct {
	events           *dataloadgen.Loader[outbox.EventID, *view.Event]
	payloads         *dataloadgen.Loader[outbox.EventID, []byte]
	deliveriesOf     *dataloadgen.Loader[outbox.EventID, []*view.Delivery]
	deliveries       *dataloadgen.Loader[outbox.DeliveryID, *view.Delivery]
	attempts         *dataloadgen.Loader[view.AttemptsOf, []*view.Entry]
	steps            *dataloadgen.Loader[view.StepsOf, []*view.Step]
	exceptions       *dataloadgen.Loader[int64, *view.Exception]
	held             *dataloadgen.Loader[view.HeldBy, view.Page[*view.Delivery]]
	eventStories     *dataloadgen.Loader[view.EventStory, view.Page[*view.Entry]]
	exceptionStories *dataloadgen.Loader[view.ExceptionStory, view.Page[*view.Entry]]
	destinations     *dataloadgen.Loader[string, *view.Destination]
	oldest           *dataloadgen.Loader[int32, *view.Oldest]
	drains           *dataloadgen.Loader[int32, *time.Time]
	exposures        *dataloadgen.Loader[int64, []*view.Exposure]
	lifeSteps        *dataloadgen.Loader[int64, []*view.LifeStep]
	suggestions      *dataloadgen.Loader[*view.Exception, []view.MappingSuggestion]
}

// gatherFor is how long a loader waits for more to ask for at once.
const gatherFor = 2 * time.Millisecond

type loadersKey struct{}

// loadersOf returns the loaders of the response under way.
func loadersOf(ctx context.Context) *loaders { return ctx.Value(loadersKey{}).(*loaders) }

// loading gives each response loaders of its own: a subscription makes many.
func loading(v *view.View, wait time.Duration) graphql.ResponseMiddleware {
	return func(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
		return next(context.WithValue(ctx, loadersKey{}, newLoaders(v, wait)))
	}
}

func newLoaders(v *view.View, wait time.Duration) *loaders {
	return &loaders{
		events:       byKey(v, wait, (*view.Tx).EventsByID),
		payloads:     byKey(v, wait, (*view.Tx).Payloads),
		deliveriesOf: byKey(v, wait, (*view.Tx).DeliveriesOf),
		deliveries:   byKey(v, wait, (*view.Tx).Deliveries),
		exceptions:   byKey(v, wait, (*view.Tx).ExceptionsByID),
		exposures:    byKey(v, wait, (*view.Tx).Exposures),
		lifeSteps:    byKey(v, wait, (*view.Tx).LifeSteps),
		drains:       byKey(v, wait, (*view.Tx).Drains),
		suggestions:  inOrder(v, wait, (*view.Tx).Suggestions),
		oldest: byKey(v, wait, func(tx *view.Tx, ctx context.Context, ids []int32) (map[int32]*view.Oldest, error) {
			found, err := tx.OldestOpen(ctx, ids)
			pointers := make(map[int32]*view.Oldest, len(found))
			for id, o := range found {
				pointers[id] = &o
			}
			return pointers, err
		}),
		destinations: byKey(v, wait, func(tx *view.Tx, ctx context.Context, _ []string) (map[string]*view.Destination, error) {
			all, err := tx.Destinations(ctx)
			byName := make(map[string]*view.Destination, len(all))
			for _, d := range all {
				byName[d.Name] = d
			}
			return byName, err
		}),
		attempts:         inOrder(v, wait, (*view.Tx).Attempts),
		steps:            inOrder(v, wait, (*view.Tx).Steps),
		held:             inOrder(v, wait, (*view.Tx).Held),
		eventStories:     inOrder(v, wait, (*view.Tx).EventStories),
		exceptionStories: inOrder(v, wait, (*view.Tx).ExceptionStories),
	}
}

// inOrder makes a loader of a read that answers in the order of the asking.
func inOrder[K comparable, V any](v *view.View, wait time.Duration, read func(*view.Tx, context.Context, []K) ([]V, error)) *dataloadgen.Loader[K, V] {
	fetch := func(ctx context.Context, keys []K) ([]V, []error) {
		found, err := seen(ctx, v, func(tx *view.Tx) ([]V, error) { return read(tx, ctx, keys) })
		if err != nil {
			return nil, []error{err}
		}
		return found, nil
	}
	return dataloadgen.NewLoader(fetch, dataloadgen.WithWait(wait), dataloadgen.WithBatchCapacity(1_000))
}

// byKey makes a loader of a read that finds some of what it is asked for.
func byKey[K comparable, V any](v *view.View, wait time.Duration, read func(*view.Tx, context.Context, []K) (map[K]V, error)) *dataloadgen.Loader[K, V] {
	return inOrder(v, wait, func(tx *view.Tx, ctx context.Context, keys []K) ([]V, error) {
		found, err := read(tx, ctx, keys)
		values := make([]V, len(keys))
		for i, k := range keys {
			values[i] = found[k]
		}
		return values, err
	})
}

// seen reads as the tenant of whoever asks.
func seen[T any](ctx context.Context, v *view.View, read func(*view.Tx) (T, error)) (found T, err error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return found, err
	}
	err = v.As(ctx, actor.Tenant, func(tx *view.Tx) error {
		found, err = read(tx)
		return err
	})
	return found, err
}
