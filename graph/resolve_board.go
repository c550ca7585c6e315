package graph

import (
	"context"
	"slices"

	"raffsync/graph/internal/model"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

// Board leaves out what is configured no more, and the addresses of teams: a screen that
// wants them asks for all destinations.
func (r queryResolver) Board(ctx context.Context) (*model.Board, error) {
	return seen(ctx, r.view, func(tx *view.Tx) (*model.Board, error) {
		totals, err := tx.Totals(ctx)
		if err != nil {
			return nil, err
		}
		today, err := tx.Today(ctx)
		if err != nil {
			return nil, err
		}
		all, err := tx.Destinations(ctx)
		return &model.Board{
			AcceptedToday: today.Accepted, DeliveredToday: today.Delivered, Late: totals.Late, Unrouted: totals.Unrouted, NeedsAction: totals.NeedsAction,
			Destinations: slices.DeleteFunc(all, func(d *view.Destination) bool {
				return d.RemovedAt != nil && d.Depth() == 0 || outbox.IsNoticeDestination(d.Name)
			}),
		}, err
	})
}
