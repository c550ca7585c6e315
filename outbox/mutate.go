package outbox

import (
	"strings"

	"raffsync/outbox/mutant"
)

// deduplicatedWrongly is appendSQL with another deduplication key, for mutants.
func deduplicatedWrongly(sql string) string {
	key := "id || '#' || seq"
	if mutant.On(mutant.LaneInKey) {
		key = "CASE WHEN EXISTS (SELECT FROM events e WHERE e.tenant = u.tenant AND e.id = u.id AND e.lane <> u.lane) THEN id || '#' || lane ELSE id END"
	}
	return strings.Replace(sql, appendedIDs,
		"tenant, source, "+key+", hash, seq FROM unnest($1::text[], $2::integer[], $3::text[], $4::bytea[], $5::bigint[], $7::smallint[]) AS u(tenant, source, id, hash, seq, lane)", 1)
}

// heeded is the leases that a replica's work is fenced by: all, but for a mutant.
func heeded(leases []Lease) []Lease {
	if mutant.On(mutant.NoFence) || mutant.On(mutant.NoEpoch) {
		return nil
	}
	return leases
}
