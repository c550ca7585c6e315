package outbox

import (
	"context"
	"fmt"
	"time"
)

// Using is what a request that is about to be sent was made with.
type Using struct {
	*Delivery
	LookedUp []LookedUp
}

const recordUsesSQL = `
INSERT INTO mapping_uses (tenant, name, value, destination, at, event, event_at, replay, attempt, step, shared, fallback, version, target, route)
SELECT p.tenant, p.name, p.value, p.destination, $1, p.event, p.event_at, p.replay, p.attempt, p.step, p.shared, p.fallback, p.version, p.target, p.route
  FROM unnest($2::text[], $3::text[], $4::text[], $5::integer[], $6::bigint[], $7::timestamptz[], $8::integer[], $9::integer[], $10::smallint[],
              $11::boolean[], $12::boolean[], $13::bigint[], $14::text[], $15::text[])
       AS p(tenant, name, value, destination, event, event_at, replay, attempt, step, shared, fallback, version, target, route)
ON CONFLICT DO NOTHING`

// RecordUses keeps which entries of mapping tables requests were made with whose intents
// were stored at that time, before any of them is sent. Calling it again after an unclear
// error is harmless.
func (r *Replica) RecordUses(ctx context.Context, at time.Time, uses []Using) error {
	var tenants, names, values, targets, routes []string
	var destinations, replays, attempts []int32
	var events []Seq
	var eventTimes []time.Time
	var steps []int16
	var shared, fallback []bool
	var versions []int64
	for _, u := range uses {
		for _, l := range u.LookedUp {
			tenants, names, values = append(tenants, u.Tenant), append(names, l.Table), append(values, truncated(l.Value, longestLookUp))
			destinations, events, eventTimes = append(destinations, u.Destination), append(events, u.Event), append(eventTimes, u.EventAt)
			replays, attempts, steps = append(replays, u.Replay), append(attempts, u.attempt()), append(steps, u.Step)
			shared, fallback, versions = append(shared, l.Shared), append(fallback, l.Default), append(versions, l.Version)
			targets, routes = append(targets, l.Target), append(routes, u.Route)
		}
	}
	_, err := r.pool.Exec(ctx, recordUsesSQL, at, tenants, names, values, destinations, events, eventTimes, replays, attempts, steps, shared, fallback, versions, targets, routes)
	if err != nil {
		return fmt.Errorf("record uses of mappings: %w", err)
	}
	return nil
}
