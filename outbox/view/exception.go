package view

import (
	"context"
	"slices"
	"time"

	"raffsync/outbox"
)

// Exception is one cause that needs a person.
type Exception struct {
	Number      int64 `db:"id"`
	Class       string
	Destination *string // name; nil where it is not about one
	Source      *string // name; nil where it is not about one
	Rule        string
	Code        string
	Field       string
	LookedUp    *string // in a mapping table; see [Exception.Gap]
	// HoldsDestination: its destination is held as a whole.
	HoldsDestination bool
	Sample           string // the first reason, for people
	HeldCount        int64  `db:"held"`
	Version          int32
	OpenedAt         time.Time
	LastAt           time.Time
	// Status by now: NEEDS_ACTION, ACKNOWLEDGED, IN_PROGRESS, RESOLVED, DISMISSED.
	Status         string
	ClosedAt       *time.Time
	Severity       string // LOW, MEDIUM, HIGH, CRITICAL
	Assignee, Team *string
	// Reopened is how often its cause came back within 30 days, Earlier the exception of the
	// same cause before, where it came back by itself.
	Reopened int32
	Earlier  *int64
	// AcknowledgedAt and AcknowledgedUntil are those of the last acknowledgement.
	AcknowledgedAt, AcknowledgedUntil *time.Time
	// Level is how many levels of its escalation have been told, of Levels; Told are the
	// teams that were, and that have had no all-clear.
	Level, Levels int
	Told          []string
	// Blocked is how many ordering keys wait behind what it holds; [Exception.Oldest] tells of
	// OldestAt.
	Blocked  int64
	OldestAt *time.Time
	// TurnTeam is whose turn it is; see exceptionTeam.
	TurnTeam *string
	// DestinationNumber names its destination; 0 where it is not about one.
	DestinationNumber int32
}

// ByDestination tells whether it is about all that its destination has open, or about what of
// that is late, so that the oldest of it is what has been open there for longest.
func (e *Exception) ByDestination() bool {
	return e.ClosedAt == nil && (e.HoldsDestination || e.Class == outbox.ClassLate)
}

// Escalation is the exception as who is told of it sees it.
type Escalation struct{ *Exception }

// ID is the opaque text that names it for callers.
func (e *Exception) ID() string { return FormatExceptionID(e.Number) }

// ExceptionFilter narrows a list of exceptions; what is zero does not.
type ExceptionFilter struct {
	Open        *bool // true has an index
	Class       string
	Destination string
	Source      string
	Severity    string
	Assignee    string
	Status      string
	// Outlet of deliveries that it holds or, once it is closed, has held.
	Outlet string
	// Team whose turn it is.
	Team string
}

const exceptionColumns = `x.id, x.class, d.name AS destination, s.name AS source, x.rule, x.code, x.field, x.looked_up, x.holds_destination, x.sample,
  ` + exceptionHolds + ` AS held,
  x.version, x.opened_at, x.last_at, ` + exceptionStatus + ` AS status, x.closed_at,
  x.severity, x.assignee, x.team, x.reopened, x.earlier,
  x.acknowledged_at, x.acknowledged_until, coalesce(g.level, 0) AS level,
  CASE WHEN jsonb_typeof(g.policy -> 'levels') = 'array' THEN jsonb_array_length(g.policy -> 'levels') ELSE 0 END AS levels, coalesce(g.told, '{}') AS told,
  x.blocked, x.oldest_at, x.destination AS destination_number, ` + exceptionTeam + ` AS turn_team`

// Whose turn it is. A person's word counts for more than a policy's, and who is told by a
// policy for more than whose place it is: the team that it was given to; that of the level
// that was told last, or is told first; that of the outlet that most of what it holds is of.
const exceptionTeam = `coalesce(x.team,
  (SELECT nullif(v.policy -> 'levels' -> (GREATEST(v.level, 1) - 1) ->> 'team', '') FROM escalations v WHERE v.exception = x.id),
  (SELECT nullif(p ->> 'team', '')
     FROM (SELECT outlet FROM held_outlets WHERE held_outlets.exception = x.id ORDER BY held DESC, outlet LIMIT 1) AS o,
          jsonb_array_elements(` + outletsInForce + `) AS p
    WHERE p ->> 'name' = o.outlet LIMIT 1))`

// outletsInForce is read once a statement.
const outletsInForce = `coalesce((SELECT c.document -> 'outlets' FROM configuration c ORDER BY c.version DESC LIMIT 1), '[]'::jsonb)`

// An acknowledgement ends by itself.
const exceptionStatus = `CASE WHEN x.status = 'ACKNOWLEDGED' AND x.acknowledged_until <= now() THEN 'NEEDS_ACTION' ELSE x.status END`

// exceptionFilter takes the arguments of [ExceptionFilter.args] from $4 on.
const exceptionFilter = `($4::boolean IS NULL OR (x.closed_at IS NULL) = $4)
           AND ($5 = '' OR x.class = $5)
           AND ($6 = '' OR x.destination = (SELECT id FROM destinations WHERE name = $6))
           AND ($7 = '' OR x.source = (SELECT id FROM sources WHERE name = $7))
           AND ($8 = '' OR x.severity = $8)
           AND ($9 = '' OR x.assignee = $9)
           AND ($10 = '' OR ` + exceptionStatus + ` = $10)
           AND ($11 = '' OR EXISTS (SELECT FROM held_outlets o WHERE o.exception = x.id AND o.outlet = $11 AND (o.held > 0 OR x.closed_at IS NOT NULL)))
           AND ($12 = '' OR ` + exceptionTeam + ` = $12)`

func (f ExceptionFilter) args() []any {
	return []any{f.Open, f.Class, f.Destination, f.Source, f.Severity, f.Assignee, f.Status, f.Outlet, f.Team}
}

// What an exception holds that holds a destination as a whole is all that this has open.
const exceptionHolds = `CASE WHEN x.holds_destination AND x.closed_at IS NULL
  THEN (SELECT coalesce(sum(t.accepted - t.delivered - t.skipped - t.superseded), 0)::bigint FROM tallies t WHERE t.tenant = x.tenant AND t.destination = x.destination)
  ELSE x.held END`

const exceptionNames = `
  LEFT JOIN destinations d ON d.id = x.destination
  LEFT JOIN sources s ON s.id = x.source
  LEFT JOIN escalations g ON g.exception = x.id`

const (
	exceptionBounds = `(opened_at, id) < ($1, $2) ORDER BY opened_at DESC, id DESC`
	walkExceptions  = ` FROM exceptions WHERE ` + exceptionBounds
	walkOpened      = ` FROM exceptions WHERE closed_at IS NULL AND ` + exceptionBounds
)

func registerExceptions(name, from string) walk {
	return walk{
		pick: register("exceptions "+name, `
SELECT `+exceptionColumns+`
  FROM (SELECT * FROM (SELECT *`+from+` LIMIT $3) AS x
         WHERE `+exceptionFilter+`
         LIMIT $13) AS x`+exceptionNames+`
 ORDER BY x.opened_at DESC, x.id DESC`),
		last: register("exceptions "+name+", last examined",
			`SELECT opened_at AS at, id AS number`+from+` OFFSET $3::bigint - 1 LIMIT 1`),
	}
}

var (
	exceptionsByTime = registerExceptions("by time", walkExceptions)
	exceptionsOpen   = registerExceptions("open", walkOpened)
)

// Exceptions lists exceptions, the newest first.
func (t *Tx) Exceptions(ctx context.Context, f ExceptionFilter, first int, after string) (Page[*Exception], error) {
	var page Page[*Exception]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	from, err := momentBefore(listExceptions, after)
	if err != nil {
		return page, err
	}
	if err := t.checkExceptionFilter(ctx, f); err != nil {
		return page, err
	}
	w := exceptionsByTime
	if f.Open != nil && *f.Open {
		w = exceptionsOpen
	}
	args := []any{from.at, from.number, Budget}
	page.Nodes, err = collect[Exception](ctx, t, "exceptions", w.pick, append(append(slices.Clone(args), f.args()...), first+1)...)
	if err != nil {
		return page, err
	}
	page.cut(first, func(e *Exception) string { return moment{e.OpenedAt, e.Number}.cursor(listExceptions) })
	if page.HasNext {
		return page, nil
	}
	end, err := t.lastExamined(ctx, w.last, args...)
	if end != nil {
		page.HasNext, page.EndCursor = true, end.cursor(listExceptions)
	}
	return page, err
}

func (t *Tx) checkExceptionFilter(ctx context.Context, f ExceptionFilter) error {
	if err := t.checkDestination(ctx, f.Destination); err != nil {
		return err
	}
	return t.checkSource(ctx, f.Source)
}

var exceptionsByID = register("exceptions by id", `
SELECT `+exceptionColumns+`
  FROM unnest($1::bigint[]) AS k(id)
  JOIN exceptions x ON x.id = k.id`+exceptionNames)

// ExceptionsByID returns the exceptions that exist of those named.
func (t *Tx) ExceptionsByID(ctx context.Context, ids []int64) (map[int64]*Exception, error) {
	found, err := collect[Exception](ctx, t, "exceptions", exceptionsByID, ids)
	byID := make(map[int64]*Exception, len(found))
	for _, e := range found {
		byID[e.Number] = e
	}
	return byID, err
}
