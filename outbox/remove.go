package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// DrainingConfig is a destination on its way out. It gets nothing new. What is open for
// it is delivered as it was configured, or skipped; then it goes by itself.
type DrainingConfig struct {
	Destination DestinationConfig `json:"destination"`
	// Routes are those that made its deliveries, for their policies.
	Routes []RouteConfig `json:"routes"`
	Since  time.Time     `json:"since"`
	// Skip says who ends what is open, and why; nil: it is delivered.
	Skip *SkipOrder `json:"skip,omitempty"`
}

// SkipOrder is for the timeline entries of what is skipped.
type SkipOrder struct {
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// Delivering are the destinations that are sent to, and the routes whose policies hold:
// those that drain first, so that a route of the same name that is in force comes after.
func (c *Configuration) Delivering() (destinations []DestinationConfig, routes []RouteConfig) {
	for _, d := range c.Draining {
		if d.Skip == nil {
			destinations = append(destinations, d.Destination)
			routes = append(routes, d.Routes...)
		}
	}
	notices, to := c.Notices()
	return slices.Concat(destinations, c.Destinations, notices), slices.Concat(routes, c.Routes, to)
}

// Removal is the word without which no destination is removed that has open deliveries.
type Removal struct {
	// Drain names destinations whose open deliveries are to be delivered first, Skip
	// those whose are to be ended without; the names are of destinations in force that
	// the new configuration does not have.
	Drain, Skip []string
	// DryRun: nothing is stored. What is returned, and what is refused, is as it would be.
	DryRun bool
}

// errDryRun takes back what a dry run did.
var errDryRun = errors.New("a dry run")

const nowSQL = `SELECT now()`

// Remove is [Store.Apply] with a word on the destinations that it removes. It returns a
// [*Refusal] where one with open deliveries has none, or a word is about none.
func (s *Store) Remove(ctx context.Context, actor Actor, c Configuration, reason string, r Removal) (Applied, error) {
	actor.Tenant = c.Tenant
	return s.change(ctx, actor, reason, r.DryRun, func(ctx context.Context, tx pgx.Tx, current Configuration) (Configuration, error) {
		var now time.Time
		if err := tx.QueryRow(ctx, nowSQL).Scan(&now); err != nil {
			return c, err
		}
		draining, err := r.draining(&current, &c, now.UTC(), SkipOrder{Actor: actor.Name, Reason: reason})
		c.Draining = draining
		return c, err
	})
}

// draining is what drains once next has taken the place of current. It is pure.
func (r *Removal) draining(current, next *Configuration, now time.Time, skip SkipOrder) ([]DrainingConfig, error) {
	notices, _ := next.Notices()
	kept := func(name string) bool {
		named := func(d DestinationConfig) bool { return d.Name == name }
		return slices.ContainsFunc(next.Destinations, named) || slices.ContainsFunc(notices, named)
	}
	var all []DrainingConfig
	for _, d := range current.Draining {
		if !kept(d.Destination.Name) {
			all = append(all, d)
		}
	}
	// What is on its way to an address that is named no more arrives there.
	gone, routes := current.Notices()
	for i, d := range gone {
		if !kept(d.Name) && !slices.ContainsFunc(all, func(o DrainingConfig) bool { return o.Destination.Name == d.Name }) {
			all = append(all, DrainingConfig{Destination: d, Routes: routes[i : i+1 : i+1], Since: now})
		}
	}
	for _, word := range []struct {
		names []string
		order *SkipOrder
	}{{r.Drain, nil}, {r.Skip, &skip}} {
		for _, name := range word.names {
			if kept(name) {
				return nil, &Refusal{Field: "destinations", Message: fmt.Sprintf("destination %s is in the configuration: take it out, and the routes to it, to remove it", name)}
			}
			if slices.Contains(r.Drain, name) && slices.Contains(r.Skip, name) {
				return nil, &Refusal{Field: "destinations", Message: fmt.Sprintf("destination %s: drain or skip, not both", name)}
			}
			if i := slices.IndexFunc(all, func(d DrainingConfig) bool { return d.Destination.Name == name }); i >= 0 {
				if (all[i].Skip == nil) != (word.order == nil) {
					all[i].Skip = word.order
				}
				continue
			}
			i := slices.IndexFunc(current.Destinations, func(d DestinationConfig) bool { return d.Name == name })
			if i < 0 {
				return nil, &Refusal{Field: "destinations", Message: fmt.Sprintf("there is no destination %s to be removed", name)}
			}
			d := DrainingConfig{Destination: current.Destinations[i], Since: now, Skip: word.order}
			for _, route := range current.Routes {
				if route.To == name {
					d.Routes = append(d.Routes, route)
				}
			}
			all = append(all, d)
		}
	}
	return all, nil
}

// refuseBusy refuses to retire a destination that has open deliveries.
func refuseBusy(ctx context.Context, tx pgx.Tx, tenant string, staying []string) error {
	rows, err := tx.Query(ctx, busyDestinationsSQL, tenant, staying)
	if err != nil {
		return err
	}
	var busy []string
	var name, first string
	var open int64
	_, err = pgx.ForEachRow(rows, []any{&name, &open}, func() error {
		busy = append(busy, fmt.Sprintf("%s (%d)", name, open))
		if first == "" {
			first = name
		}
		return nil
	})
	if err != nil || len(busy) == 0 {
		return err
	}
	return &Refusal{Field: "destinations", Message: fmt.Sprintf(
		"open deliveries stand in the way of removing %s; add --drain %s to have them delivered first, or --skip %s --reason TEXT to end them without",
		strings.Join(busy, ", "), first, first)}
}

// Remainder is how many deliveries are open for a destination, or of a route, that a
// configuration would remove.
type Remainder struct {
	Kind  string `json:"kind"` // "destination" or "route"
	Name  string `json:"name"`
	Count int64  `json:"open"`
	// AtLeast: there may be more; routes are counted up to a bound.
	AtLeast bool `json:"atLeast,omitempty"`
}

const (
	// routePage bounds what is counted in each lane.
	routePage = 2000

	openOfRouteSQL = `
SELECT count(*) FILTER (WHERE o.route = $3), coalesce(max(o.place) = $4, false)
  FROM destinations d
 CROSS JOIN lanes l
 CROSS JOIN LATERAL (
   SELECT p.route, row_number() OVER (ORDER BY p.seq) AS place FROM (
     SELECT route, seq FROM deliveries WHERE deliveries.lane = l.lane AND deliveries.destination = d.id ORDER BY seq LIMIT $4) AS p) AS o
 WHERE d.tenant = $1 AND d.name = $2`
)

// OpenOfRemoved tells what is open for each destination and route that is in force and
// that next does not have, where anything is. Deliveries of a removed route go on with
// the default policy, as long as their destination stays.
func (s *Store) OpenOfRemoved(ctx context.Context, next Configuration) ([]Remainder, error) {
	current, err := s.ConfigurationOf(ctx, next.Tenant)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, d := range next.Destinations {
		names = append(names, d.Name)
	}
	for _, d := range current.Draining { // gone already, but for what is open
		names = append(names, d.Destination.Name)
	}
	for _, of := range []Configuration{next, current.Configuration} { // these drain by themselves
		notices, _ := of.Notices()
		for _, d := range notices {
			names = append(names, d.Name)
		}
	}
	rows, err := s.engine.Query(ctx, busyDestinationsSQL, next.Tenant, names)
	if err != nil {
		return nil, fmt.Errorf("count what is open: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Remainder, error) {
		o := Remainder{Kind: "destination"}
		return o, row.Scan(&o.Name, &o.Count)
	})
	if err != nil {
		return nil, fmt.Errorf("count what is open: %w", err)
	}
	for _, r := range current.Routes {
		if slices.ContainsFunc(next.Routes, func(o RouteConfig) bool { return o.Name == r.Name && o.To == r.To }) || !slices.Contains(names, r.To) {
			continue
		}
		o := Remainder{Kind: "route", Name: r.Name}
		if err := s.engine.QueryRow(ctx, openOfRouteSQL, next.Tenant, r.To, r.Name, routePage).Scan(&o.Count, &o.AtLeast); err != nil {
			return nil, fmt.Errorf("count what is open: %w", err)
		}
		if o.Count > 0 {
			all = append(all, o)
		}
	}
	return all, nil
}
