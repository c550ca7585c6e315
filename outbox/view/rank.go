package view

import (
	"context"
)

// ExceptionOrder is an order of exceptions.
type ExceptionOrder string

// Orders. All but the first list what is open.
const (
	NewestFirst  ExceptionOrder = "NEWEST"
	ByExposure   ExceptionOrder = "EXPOSURE_DESC" // the most at stake first
	BySeverity   ExceptionOrder = "SEVERITY"      // the most severe first
	LongestFirst ExceptionOrder = "AGE"           // the oldest first
)

type rankedException struct {
	Exception
	rank
}

// What is open is little beside what is past, and has an index of its own; what is at
// stake changes with every delivery, so that an index over it would cost each of these
// more than it saves here. It is summed up at once, for what is open is all that has any.
// It is joined before anything is filtered: of what a filter leaves the planner expects one
// row, and would look through all of it for each. Money of several currencies is compared by
// the rates of the configuration.
var exceptionsByRank = register("exceptions by rank", `
WITH rates AS MATERIALIZED (
  SELECT coalesce((SELECT document -> 'rates' FROM configuration ORDER BY version DESC LIMIT 1), '{}'::jsonb) AS of
), worth AS MATERIALIZED (
  SELECT e.exception, sum(e.amount * coalesce((rates.of ->> e.currency)::numeric, 1)) AS amount
    FROM exposures e, rates WHERE $1::text = 'EXPOSURE_DESC' GROUP BY e.exception
), ranked AS MATERIALIZED (
  SELECT x.*, CASE $1::text
           WHEN 'EXPOSURE_DESC' THEN coalesce(x.amount, 0)
           WHEN 'SEVERITY' THEN array_position(ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'], x.severity::text)::numeric
           ELSE -extract(epoch FROM x.opened_at) END AS rank,
         CASE WHEN $1 = 'EXPOSURE_DESC' THEN x.blocked ELSE 0 END AS keys,
         CASE WHEN $1 = 'EXPOSURE_DESC' THEN -(extract(epoch FROM coalesce(x.oldest_at, x.opened_at)) * 1000000)::bigint ELSE 0 END AS age
    FROM (SELECT o.*, worth.amount
            FROM (SELECT * FROM exceptions WHERE closed_at IS NULL ORDER BY opened_at, id LIMIT $2) AS o
            LEFT JOIN worth ON worth.exception = o.id OFFSET 0) AS x
   WHERE `+exceptionFilter+`
)
SELECT `+exceptionColumns+`, trim_scale(x.rank)::text AS rank, x.keys, x.age
  FROM (SELECT * FROM ranked WHERE (rank, keys, age, -id) < ($3::text::numeric, $14::bigint, $15::bigint, -$13::bigint)
         ORDER BY rank DESC, keys DESC, age DESC, id LIMIT $16) AS x`+exceptionNames+`
 ORDER BY x.rank DESC, x.keys DESC, x.age DESC, x.id`)

// RankedExceptions lists open exceptions in an order, of equals those that opened first. By
// exposure, what has the same money at stake is ordered by the keys that it blocks, and then
// by the age of the oldest event that it holds.
// Of more than [Budget] those that opened first are looked at.
func (t *Tx) RankedExceptions(ctx context.Context, f ExceptionFilter, order ExceptionOrder, first int, after string) (Page[*Exception], error) {
	if order == NewestFirst || order == "" {
		return t.Exceptions(ctx, f, first, after)
	}
	var page Page[*Exception]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	if f.Open != nil && !*f.Open {
		return page, &InputError{"what is closed is ordered by time only: leave orderBy out"}
	}
	from, err := parseRank(string(order)[0], after)
	if err != nil {
		return page, err
	}
	if err := t.checkExceptionFilter(ctx, f); err != nil {
		return page, err
	}
	args := append([]any{string(order), Budget, from.Rank}, f.args()...)
	found, err := collect[rankedException](ctx, t, "exceptions", exceptionsByRank, append(args, from.exception, from.Keys, from.Age, first+1)...)
	if err != nil {
		return page, err
	}
	for _, r := range found {
		page.Nodes = append(page.Nodes, &r.Exception)
	}
	page.cut(first, func(*Exception) string {
		last := found[first-1]
		last.rank.order, last.rank.exception = string(order)[0], last.Number
		return last.rank.cursor()
	})
	return page, nil
}
