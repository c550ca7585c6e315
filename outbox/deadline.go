package outbox

import (
	"cmp"
	"slices"
	"time"
)

// Deadline is how soon the deliveries of some routes to one destination are to be done.
type Deadline struct {
	Tenant      string
	Destination int32
	// Within is counted from the acceptance of the event, or from its replay.
	Within time.Duration
	Routes []string // in the order of their names
}

// Deadlines are those of the configurations in force, in the order of destinations. It
// is pure.
func Deadlines(inForce []Applied) []Deadline {
	var all []Deadline
	for _, a := range inForce {
		_, routes := a.Delivering()
		for _, r := range routes {
			id, known := a.Names.Destinations[r.To]
			if r.DeliverWithin <= 0 || !known {
				continue
			}
			i := slices.IndexFunc(all, func(d Deadline) bool { return d.Destination == id && d.Within == r.DeliverWithin })
			if i < 0 {
				i = len(all)
				all = append(all, Deadline{Tenant: a.Tenant, Destination: id, Within: r.DeliverWithin})
			}
			all[i].Routes = append(all[i].Routes, r.Name)
		}
	}
	for _, d := range all {
		slices.Sort(d.Routes)
	}
	slices.SortFunc(all, func(a, b Deadline) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Within, b.Within))
	})
	return all
}
