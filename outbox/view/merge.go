package view

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// openKey names an open delivery as its table does.
type openKey struct {
	lane        int16
	destination int32
	seq         int64
}

func (k openKey) position() position { return position{k.seq, k.destination} }

func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.seq, o.seq), cmp.Compare(p.destination, o.destination))
}

// stretch is the open deliveries of one lane and destination, which is how their index
// lies.
type stretch struct {
	lane        int16
	destination int32
	after       int64 // as far as it has been read
	end         bool  // nothing comes after that
}

// merger puts the stretches together by position. It reads keys only, and of a stretch
// no more than may be asked for. All of it is read in one snapshot.
type merger struct {
	tx        *Tx
	stretches []*stretch
	pool      []openKey // read, and not handed out, by position
}

var lanesThere = register("lanes", `SELECT lanes FROM installation`)

// merger begins behind a place.
func (t *Tx) merger(ctx context.Context, destinations []int32, place position) (*merger, error) {
	type row struct{ Lanes int16 }
	installation, err := collect[row](ctx, t, "the lanes", lanesThere)
	if err != nil {
		return nil, err
	}
	m := &merger{tx: t}
	for _, destination := range destinations {
		after := place.seq // deliveries of one event share its position
		if destination > place.destination {
			after--
		}
		for lane := range installation[0].Lanes {
			m.stretches = append(m.stretches, &stretch{lane: lane, destination: destination, after: after})
		}
	}
	return m, nil
}

// next hands out the next keys; fewer than n at the end.
func (m *merger) next(ctx context.Context, n int) ([]openKey, error) {
	for {
		// What comes before the last that is to be handed out must have been read.
		last := position{math.MaxInt64, math.MaxInt32}
		if len(m.pool) >= n {
			last = m.pool[n-1].position()
		}
		var behind []*stretch
		for _, s := range m.stretches {
			if !s.end && (position{s.after + 1, s.destination}).compare(last) <= 0 {
				behind = append(behind, s)
			}
		}
		if len(behind) == 0 {
			n = min(n, len(m.pool))
			keys := m.pool[:n:n]
			m.pool = m.pool[n:]
			return keys, nil
		}
		// Lanes fill evenly, so that a few more than their share will do; where they did
		// not, few are left to be read on.
		if err := m.read(ctx, behind, min(n, 2*n/len(behind)+2)); err != nil {
			return nil, err
		}
	}
}

var openKeys = register("keys of open deliveries", `
SELECT k.lane, k.destination, d.seq
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[]) AS k(lane, destination, after)
 CROSS JOIN LATERAL (
   SELECT deliveries.seq FROM deliveries
    WHERE deliveries.lane = k.lane AND deliveries.destination = k.destination AND deliveries.seq > k.after
    ORDER BY deliveries.seq LIMIT $4) AS d`)

func (m *merger) read(ctx context.Context, behind []*stretch, limit int) error {
	type place struct {
		lane        int16
		destination int32
	}
	by := make(map[place]*stretch, len(behind))
	lanes, destinations, after := make([]int16, len(behind)), make([]int32, len(behind)), make([]int64, len(behind))
	for i, s := range behind {
		lanes[i], destinations[i], after[i] = s.lane, s.destination, s.after
		by[place{s.lane, s.destination}] = s
	}
	type row struct {
		Lane        int16
		Destination int32
		Seq         int64
	}
	rows, err := collect[row](ctx, m.tx, "open deliveries", openKeys, lanes, destinations, after, limit)
	if err != nil {
		return err
	}
	found := make(map[*stretch]int, len(behind))
	for _, r := range rows {
		s := by[place{r.Lane, r.Destination}]
		s.after = max(s.after, r.Seq)
		found[s]++
		m.pool = append(m.pool, openKey{r.Lane, r.Destination, r.Seq})
	}
	for _, s := range behind {
		s.end = found[s] < limit
	}
	slices.SortFunc(m.pool, func(a, b openKey) int { return a.position().compare(b.position()) })
	return nil
}
