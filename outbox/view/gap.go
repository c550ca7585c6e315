package view

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MappingGap is a value that a look-up missed and that holds deliveries: an open exception
// by the rule "look-up".
type MappingGap struct {
	Number            int64 `db:"exception"`
	Class             string
	Destination       *string // name
	DestinationNumber int32
	Table             string
	Value             string
	HeldCount         int64 `db:"held"`
	OpenedAt          time.Time
	// Suggestions are targets that the value may be meant to have, the likeliest first: at
	// most three.
	Suggestions []MappingSuggestion `db:"-"`
}

// MappingSuggestion is a target of a value that looks much like the missing one.
type MappingSuggestion struct {
	Target string
	Value  string
}

// Label says of which value it is the target.
func (s MappingSuggestion) Label() string { return s.Value + " → " + s.Target }

var mappingGaps = register("mapping gaps", `
SELECT x.id AS exception, x.class, d.name AS destination, x.destination AS destination_number, x.field AS "table", x.code AS value, x.held, x.opened_at
  FROM (SELECT * FROM exceptions WHERE rule = 'look-up' AND closed_at IS NULL ORDER BY id LIMIT $1) AS x
  LEFT JOIN destinations d ON d.id = x.destination
 WHERE (x.held < $2 OR x.held = $2 AND x.id > $3)
   AND ($4 = '' OR x.field = $4)
   AND ($5 = '' OR d.name = $5)
 ORDER BY x.held DESC, x.id LIMIT $6`)

// GapFilter narrows the list of gaps; what is zero does not.
type GapFilter struct{ Table, Destination string }

// MappingGaps lists what tables miss, what holds most first. Of more than [Budget] gaps
// those that opened first are looked at; others follow as these are filled.
func (t *Tx) MappingGaps(ctx context.Context, f GapFilter, first int, after string) (Page[*MappingGap], error) {
	var page Page[*MappingGap]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	from, err := parseGap(after)
	if err != nil {
		return page, err
	}
	if err := t.checkDestination(ctx, f.Destination); err != nil {
		return page, err
	}
	page.Nodes, err = collect[MappingGap](ctx, t, "mapping gaps", mappingGaps, Budget, from.held, from.exception, f.Table, f.Destination, first+1)
	if err != nil {
		return page, err
	}
	page.cut(first, func(g *MappingGap) string { return gap{g.HeldCount, g.Number}.cursor() })
	return page, t.suggest(ctx, page.Nodes)
}

// neighbours of a value on either side, in each of its tables, are looked at. Values that
// begin alike stand together, so a few of them are enough.
const neighbours = 20

var mappingNeighbours = register("mapping neighbours", `
SELECT (g.ord - 1)::integer AS place, e.value, e.target
  FROM unnest($1::integer[], $2::text[], $3::text[]) WITH ORDINALITY AS g(destination, name, value, ord)
 CROSS JOIN LATERAL unnest(ARRAY[g.destination, 0]) AS of(destination)
 CROSS JOIN LATERAL (
   (SELECT value, target FROM mapping_entries n
     WHERE n.name = g.name AND n.destination = of.destination AND n.value > g.value ORDER BY n.value LIMIT $4)
   UNION ALL
   (SELECT value, target FROM mapping_entries n
     WHERE n.name = g.name AND n.destination = of.destination AND n.value < g.value AND n.value <> '' ORDER BY n.value DESC LIMIT $4)) AS e`)

func (t *Tx) suggest(ctx context.Context, gaps []*MappingGap) error {
	if len(gaps) == 0 {
		return nil
	}
	var destinations []int32
	var names, values []string
	for _, g := range gaps {
		destinations, names, values = append(destinations, g.DestinationNumber), append(names, g.Table), append(values, g.Value)
	}
	type row struct {
		Place         int32
		Value, Target string
	}
	found, err := collect[row](ctx, t, "mapping neighbours", mappingNeighbours, destinations, names, values, neighbours)
	near := make([][]MappingSuggestion, len(gaps))
	for _, r := range found {
		near[r.Place] = append(near[r.Place], MappingSuggestion{r.Target, r.Value})
	}
	for i, g := range gaps {
		g.Suggestions = likeliest(g.Value, near[i])
	}
	return err
}

const (
	mostSuggestions = 3
	// comparable is the most characters of a text that is compared: the time grows with
	// their square.
	comparable = 64
)

// likeliest are the candidates that look most like a value: whose value, or target, is at
// most a third of it away, counted in characters to add, take out or exchange.
func likeliest(value string, candidates []MappingSuggestion) []MappingSuggestion {
	type scored struct {
		MappingSuggestion
		distance int
	}
	var near []scored
	if utf8.RuneCountInString(value) > comparable {
		return nil
	}
	for _, c := range candidates {
		d := min(distance(value, c.Value), distance(value, c.Target))
		if d <= utf8.RuneCountInString(value)/3 {
			near = append(near, scored{c, d})
		}
	}
	slices.SortFunc(near, func(a, b scored) int {
		return cmp.Or(a.distance-b.distance, strings.Compare(a.Value, b.Value), strings.Compare(a.Target, b.Target))
	})
	var found []MappingSuggestion
	for _, s := range near {
		known := slices.ContainsFunc(found, func(o MappingSuggestion) bool { return o.Target == s.Target })
		if !known && len(found) < mostSuggestions {
			found = append(found, s.MappingSuggestion)
		}
	}
	return found
}

// distance is how many characters must be added, taken out or exchanged to make one text
// of the other, in either case; texts that are too long are far away.
func distance(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	if len(x) > comparable || len(y) > comparable {
		return comparable
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			change := diagonal
			if x[i] != y[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}
