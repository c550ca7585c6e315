package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// copyWay is how events are copied: rows a statement, each a transaction of its own,
// over so many connections.
type copyWay struct{ rows, connections int }

func (w copyWay) String() string {
	return fmt.Sprintf("COPY %s rows × %d", count(float64(w.rows)), w.connections)
}

var copyWays = []copyWay{{256, 1}, {256, 4}, {8192, 1}, {8192, 4}}

// bestCopy finds the fastest way on this machine: the median of three rounds each, in
// turn.
func (r *rig) bestCopy(ctx context.Context, n int) (best copyWay, err error) {
	rates := make(map[copyWay][]float64)
	for range r.scale(3, 1) {
		for _, way := range copyWays {
			rate, err := r.copyRate(ctx, way, n)
			if err != nil {
				return best, err
			}
			rates[way] = append(rates[way], rate)
		}
	}
	for _, way := range copyWays {
		r.say("ingest: %s: %s/s", way, count(median(rates[way])))
		if best.rows == 0 || median(rates[way]) > median(rates[best]) {
			best = way
		}
	}
	return best, nil
}

const copiedSQL = `
CREATE TABLE copied (
  tenant       text COLLATE "C" NOT NULL,
  source       integer NOT NULL,
  id           text COLLATE "C" NOT NULL,
  type         text COLLATE "C" NOT NULL,
  ordering_key text COLLATE "C" NOT NULL,
  occurred_at  timestamptz NOT NULL,
  content_type text COLLATE "C" NOT NULL,
  payload      bytea NOT NULL,
  PRIMARY KEY (tenant, source, id)
)`

var copiedColumns = []string{"tenant", "source", "id", "type", "ordering_key", "occurred_at", "content_type", "payload"}

// copyRate copies n events into a new database, by the same key as ours.
func (r *rig) copyRate(ctx context.Context, way copyWay, n int) (rate float64, err error) {
	d, err := r.cluster.create(ctx, "template1")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.drop(ctx)) }()
	connections := make([]*pgx.Conn, way.connections)
	for i := range connections {
		c, err := pgx.Connect(ctx, d.dsn)
		if err != nil {
			return 0, err
		}
		defer c.Close(context.WithoutCancel(ctx))
		connections[i] = c
	}
	if _, err := connections[0].Exec(ctx, copiedSQL); err != nil {
		return 0, err
	}
	err = r.working(theirs, 0, n, func() error {
		begin := time.Now()
		group, ctx := errgroup.WithContext(ctx)
		for i, c := range connections {
			share := n / len(connections)
			if i == 0 {
				share += n % len(connections)
			}
			group.Go(func() error { return copyEvents(ctx, c, way.rows, share) })
		}
		err := group.Wait()
		rate = float64(n) / time.Since(begin).Seconds()
		return err
	})
	return rate, err
}

func copyEvents(ctx context.Context, c *pgx.Conn, rows, n int) error {
	for done := 0; done < n; done += rows {
		size := min(rows, n-done)
		_, err := c.CopyFrom(ctx, pgx.Identifier{"copied"}, copiedColumns, pgx.CopyFromSlice(size, func(i int) ([]any, error) {
			key := fmt.Sprintf("order/%d", (done+i)%orderingKeys)
			return []any{tenant, int32(1), rand.Text(), "order.created", key, time.Now(), "application/json", payload}, nil
		}))
		if err != nil {
			return err
		}
	}
	return nil
}
