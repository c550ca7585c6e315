package view

import (
	"context"
	"time"
)

// Fault is why a destination is not used as configured.
type Fault struct {
	// Problem for people, without secrets.
	Problem string
	// Version of the configuration that cannot be used.
	Version int32
	// Since when at the earliest.
	Since time.Time
	// Rests: nothing is sent to it. Otherwise it goes on as it was configured before.
	Rests bool
}

// Of the processes that run, the worst counts: each speaks for a share of the lanes.
// What is wrong with the routes (destination 0) stands for each destination that has
// no trouble of its own.
var faultsOfConfiguration = register("faults of the configuration", `
SELECT DISTINCT ON (u.destination) u.destination, u.problem, u.version, u.since, u.rests
  FROM configuration_use u
  JOIN processes p ON p.id = u.process AND p.alive_until > now()
 WHERE u.problem <> ''
 ORDER BY u.destination, u.rests DESC, u.since`)

// faults are those of the tenant's destinations.
type faults map[int32]*Fault

func (t *Tx) faults(ctx context.Context) (faults, error) {
	type row struct {
		Destination int32
		Problem     string
		Version     int32
		Since       time.Time
		Rests       bool
	}
	rows, err := collect[row](ctx, t, "faults of the configuration", faultsOfConfiguration)
	found := make(faults, len(rows))
	for _, r := range rows {
		found[r.Destination] = &Fault{Problem: r.Problem, Version: r.Version, Since: r.Since, Rests: r.Rests}
	}
	return found, err
}

// of a destination, or of the routes to it.
func (f faults) of(destination int32) *Fault {
	if own := f[destination]; own != nil {
		return own
	}
	return f[0]
}
