package outbox

import (
	"cmp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Using is what a request that is about to be sent was made with.
type Using struct {
	*Delivery
	LookedUp []LookedUp
}

// usesOfRow is about the most look-ups of one row: some hundred kilobytes, compressed.
const usesOfRow = 20_000

const recordUsesSQL = `
INSERT INTO mapping_used (tenant, destination, at, events, event_ats, replays, steps, attempts, routes, names, looked, targets, versions, shared, fallback, requests, entries)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`

// usedRow is a row of what requests to one destination were made with, each entry once.
type usedRow struct {
	tenant      string
	destination int32

	events   []Seq
	eventAts []time.Time
	replays  []int32
	steps    []int16
	attempts []int32
	routes   []string

	place                  map[LookedUp]int32 // of an entry in what follows, from 1
	names, looked, targets []string
	versions               []int64
	shared, fallback       []bool

	requests, entries []int32
}

func (u *usedRow) add(d *Delivery, lookedUp []LookedUp) {
	u.events, u.eventAts, u.replays = append(u.events, d.Event), append(u.eventAts, d.EventAt), append(u.replays, d.Replay)
	u.steps, u.attempts, u.routes = append(u.steps, d.Step), append(u.attempts, d.attempt()), append(u.routes, d.Route)
	for _, l := range lookedUp {
		place, known := u.place[l]
		if !known {
			place = int32(len(u.names)) + 1
			u.place[l] = place
			u.names, u.looked, u.targets = append(u.names, l.Table), append(u.looked, truncated(l.Value, longestLookUp)), append(u.targets, l.Target)
			u.versions, u.shared, u.fallback = append(u.versions, l.Version), append(u.shared, l.Shared), append(u.fallback, l.Default)
		}
		u.requests, u.entries = append(u.requests, int32(len(u.events))), append(u.entries, place)
	}
}

func (u *usedRow) queue(batch *pgx.Batch, at time.Time) {
	batch.Queue(recordUsesSQL, u.tenant, u.destination, at, u.events, u.eventAts, u.replays, u.steps, u.attempts, u.routes,
		u.names, u.looked, u.targets, u.versions, u.shared, u.fallback, u.requests, u.entries)
}

// usedRows are the rows of those requests that are in the batch of intents.
func usedRows(stored Batch, uses []Using) (rows []*usedRow) {
	uses = slices.DeleteFunc(slices.Clone(uses), func(u Using) bool { return len(u.LookedUp) == 0 || !stored.Announces(u.Delivery) })
	slices.SortStableFunc(uses, func(a, b Using) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Destination, b.Destination))
	})
	var row *usedRow
	for _, u := range uses {
		if row == nil || row.tenant != u.Tenant || row.destination != u.Destination || len(row.entries) >= usesOfRow {
			row = &usedRow{tenant: u.Tenant, destination: u.Destination, place: make(map[LookedUp]int32)}
			rows = append(rows, row)
		}
		row.add(u.Delivery, u.LookedUp)
	}
	return rows
}

// queueUses keeps which entries of mapping tables requests were made with, in the
// transaction that stores their intents: so none is sent whose entries are not known, and
// none is listed that was not.
func queueUses(batch *pgx.Batch, stored Batch, uses []Using) {
	for _, row := range usedRows(stored, uses) {
		row.queue(batch, stored.At)
	}
}
