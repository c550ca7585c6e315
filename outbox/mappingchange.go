package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// mappingChange is a change of mappings, whichever way it was asked for:
//
//	rows ─▶ mapping_stage ─▶ lock ─▶ mapping_diff ─▶ entries, history, version, timeline
//
// The lock keeps other changes of the tenant away; readers and the engine meet none but
// that of the version's row, for the moment of the commit.
type mappingChange struct {
	MappingRequest
	table  MappingTable // without a name where each row says its own
	source mappingSource
	// field of the request that rows are of; each is what they are called, where rows may
	// contradict each other.
	field, each string
	// replaces: what the tables have and the rows do not is removed. removes: rows remove.
	replaces, removes bool
	// rehearsed is told of each difference, and nothing is stored.
	rehearsed func(MappingDifference) error
}

// mappingSource gives the rows of a change, in the columns of mapping_stage.
type mappingSource interface {
	pgx.CopyFromSource
	// open is called before the first row.
	open(destinations map[string]int32) error
	// digest is of all the rows, once they have been read.
	digest() []byte
}

func noDestination(name string) string {
	return fmt.Sprintf("there is no destination %q in the configuration in force", abridged(name))
}

const (
	everyDestinationSQL = `SELECT name, id FROM destinations WHERE tenant = $1`

	createMappingStageSQL = `
CREATE TEMPORARY TABLE mapping_stage (
  line integer, name text COLLATE "C", destination integer, value text COLLATE "C", target text COLLATE "C") ON COMMIT DROP`
	createMappingDiffSQL = `
CREATE TEMPORARY TABLE mapping_diff (
  name text COLLATE "C", destination integer, value text COLLATE "C", was text COLLATE "C", becomes text COLLATE "C",
  asked boolean) ON COMMIT DROP`
	analyseMappingStageSQL = `ANALYZE mapping_stage`
	analyseMappingDiffSQL  = `ANALYZE mapping_diff`

	// mappingPatienceSQL: a file may come slowly, and another import may be at work. The
	// memory is what the rows of a large one are sorted in.
	mappingPatienceSQL = `SELECT set_config('statement_timeout', '10min', true), set_config('lock_timeout', '1min', true), set_config('work_mem', '64MB', true)`
	mappingLockSQL     = `SELECT pg_advisory_xact_lock(hashtextextended('raffsync mappings ' || $1, 0))`

	contradictionsSQL = `
SELECT value, one, other, ARRAY(SELECT line FROM mapping_stage s WHERE s.name = w.name AND s.destination = w.destination AND s.value = w.value ORDER BY line LIMIT 5), n
  FROM (SELECT name, destination, value, min(target) AS one, max(target) AS other, count(*) AS n, min(line) AS first
          FROM mapping_stage GROUP BY name, destination, value HAVING min(target) <> max(target) ORDER BY first LIMIT 5) AS w
 ORDER BY first`

	mappingAtSQL = `SELECT coalesce((SELECT version FROM mapping_versions WHERE tenant = $1), 0)`

	// mappingDiffSQL: what is replaced are the tables that rows are of, and the one that was
	// named, which there may be no row of.
	mappingDiffSQL = `
INSERT INTO mapping_diff (name, destination, value, was, becomes, asked)
WITH wanted AS (SELECT DISTINCT name, destination, value, target FROM mapping_stage),
     replaced AS (SELECT name, destination FROM mapping_stage UNION SELECT $2::text, $3::integer WHERE $2 <> '')
SELECT w.name, w.destination, w.value, e.target, w.target, true
  FROM wanted w
  LEFT JOIN mapping_entries e ON e.tenant = $1 AND e.name = w.name AND e.destination = w.destination AND e.value = w.value
 WHERE e.target IS DISTINCT FROM w.target
UNION ALL
SELECT e.name, e.destination, e.value, e.target, NULL, false
  FROM mapping_entries e JOIN replaced r ON r.name = e.name AND r.destination = e.destination
 WHERE $4 AND e.tenant = $1 AND e.value <> ''
   AND NOT EXISTS (SELECT FROM wanted w WHERE w.name = e.name AND w.destination = e.destination AND w.value = e.value)`

	countMappingDiffSQL = `
WITH wanted AS (SELECT count(*) AS n FROM (SELECT DISTINCT name, destination, value FROM mapping_stage) AS each)
SELECT count(*) FILTER (WHERE was IS NULL), count(*) FILTER (WHERE was IS NOT NULL AND becomes IS NOT NULL), count(*) FILTER (WHERE becomes IS NULL),
       (SELECT n FROM wanted) - count(*) FILTER (WHERE asked), (SELECT count(*) FROM mapping_stage) - (SELECT n FROM wanted)
  FROM mapping_diff`

	withoutEntrySQL = `
SELECT s.value FROM mapping_stage s
 WHERE NOT EXISTS (SELECT FROM mapping_entries e WHERE e.tenant = $1 AND e.name = s.name AND e.destination = s.destination AND e.value = s.value)
 ORDER BY s.line LIMIT 5`

	changedSinceSQL = `
SELECT EXISTS (
  SELECT FROM mapping_diff d JOIN mapping_history h ON h.tenant = $1 AND h.name = d.name AND h.destination = d.destination AND h.value = d.value
   WHERE h.version > $2)`
)

// changeMappings carries a change out, or rehearses it.
func (s *Store) changeMappings(ctx context.Context, actor Actor, c *mappingChange) (done MappingChange, err error) {
	if c.rehearsed == nil {
		if err := validateRequest(c.RequestID, c.Reason); err != nil {
			return done, err
		}
	}
	if problem := checkMappingName(c.table.Name); c.table.Name != "" && problem != "" {
		return done, &Refusal{Field: "table", Message: problem}
	}
	var before int64
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		destination, err := c.stage(ctx, tx, actor)
		if err != nil {
			return err
		}
		if c.rehearsed != nil {
			if err := c.compare(ctx, tx, actor, destination, &done); err != nil {
				return err
			}
			return errors.Join(tellDifferences(ctx, tx, c.rehearsed), errRehearsed)
		}
		if _, err := tx.Exec(ctx, mappingLockSQL, actor.Tenant); err != nil {
			return err
		}
		digest := c.digest()
		repeated, err := answered(ctx, tx, c.RequestID, digest, &done)
		if err != nil || repeated {
			before = done.Version // what is told of it was told then
			return err
		}
		if err := c.compare(ctx, tx, actor, destination, &done); err != nil {
			return err
		}
		before = done.Version
		if done.Added+done.Changed+done.Removed > 0 {
			done.Version++
			if err := c.apply(ctx, tx, actor, &done); err != nil {
				return err
			}
		}
		answer, err := json.Marshal(done)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, answerSQL, actor.Tenant, c.RequestID, digest, answer)
		return err
	})
	switch {
	case errors.Is(err, errRehearsed):
		return done, nil
	case sqlState(err) == uniqueViolation:
		return MappingChange{}, ErrConflict // the same request id came at once for something else
	case sqlState(err) == stateLockTimeout:
		return MappingChange{}, &Refusal{Message: "another change of the mapping tables is being stored; try again in a moment"}
	case err != nil:
		return MappingChange{}, err
	}
	if done.Version != before {
		s.Hint(Hint{Mappings: true, Releases: done.Released > 0})
	}
	return done, nil
}

// errRehearsed rolls a rehearsal back.
var errRehearsed = errors.New("rehearsed")

// digest tells requests apart that go by one id.
func (c *mappingChange) digest() []byte {
	digest := sha256.Sum256(fmt.Appendf(nil, "mapping %s %q %q %t %t %x %q", c.field, c.table.Name, c.table.Destination, c.replaces, c.removes, c.source.digest(), c.Reason))
	return digest[:]
}

// stage reads the rows, which nothing is locked for. It returns the number of the
// destination that was named.
func (c *mappingChange) stage(ctx context.Context, tx pgx.Tx, actor Actor) (int32, error) {
	for _, sql := range []string{mappingPatienceSQL, createMappingStageSQL, createMappingDiffSQL} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return 0, err
		}
	}
	// A destination that is gone keeps its tables, and what stands there may be removed.
	named := destinationNamesSQL
	if c.removes {
		named = everyDestinationSQL
	}
	destinations, err := numbered(ctx, tx, named, actor.Tenant)
	if err != nil {
		return 0, err
	}
	destinations[""] = 0
	if err := c.source.open(destinations); err != nil {
		return 0, err
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"mapping_stage"}, []string{"line", "name", "destination", "value", "target"}, c.source)
	if wrong := c.source.Err(); wrong != nil { // which COPY would say in its own words
		return 0, wrong
	}
	if err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, analyseMappingStageSQL); err != nil {
		return 0, err
	}
	return destinations[c.table.Destination], c.refuseContradictions(ctx, tx)
}

// refuseContradictions wants one target for each value.
func (c *mappingChange) refuseContradictions(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, contradictionsSQL)
	if err != nil {
		return err
	}
	var problems []string
	var value, one, other string
	var lines []int32
	var n int
	_, err = pgx.ForEachRow(rows, []any{&value, &one, &other, &lines, &n}, func() error {
		at := make([]string, len(lines))
		for i, line := range lines {
			at[i] = fmt.Sprint(line)
		}
		if n > len(lines) {
			at = append(at, fmt.Sprintf("%d more", n-len(lines)))
		}
		last := len(at) - 1
		problems = append(problems, fmt.Sprintf("%s %s and %s give %q different targets (%q, %q); keep one of them",
			c.each, strings.Join(at[:last], ", "), at[last], abridged(value), abridged(one), abridged(other)))
		return nil
	})
	if err == nil && problems != nil {
		err = &Refusal{Field: c.field, Message: strings.Join(problems, "\n")}
	}
	return err
}

// compare finds what the rows change, and refuses what they may not.
func (c *mappingChange) compare(ctx context.Context, tx pgx.Tx, actor Actor, destination int32, done *MappingChange) error {
	if err := tx.QueryRow(ctx, mappingAtSQL, actor.Tenant).Scan(&done.Version); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, mappingDiffSQL, actor.Tenant, c.table.Name, destination, c.replaces); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, analyseMappingDiffSQL); err != nil {
		return err
	}
	err := tx.QueryRow(ctx, countMappingDiffSQL).Scan(&done.Added, &done.Changed, &done.Removed, &done.Unchanged, &done.Repeated)
	if err != nil {
		return err
	}
	if c.removes {
		if err := c.refuseAbsent(ctx, tx, actor, done); err != nil {
			return err
		}
	}
	if c.ExpectedVersion == nil {
		return nil
	}
	var changed bool
	if err := tx.QueryRow(ctx, changedSinceSQL, actor.Tenant, *c.ExpectedVersion).Scan(&changed); err != nil {
		return err
	}
	if changed {
		return ErrConflict
	}
	return nil
}

// refuseAbsent wants something to be there for each row that removes.
func (c *mappingChange) refuseAbsent(ctx context.Context, tx pgx.Tx, actor Actor, done *MappingChange) error {
	if done.Unchanged == 0 && done.Removed > 0 {
		return nil
	}
	if c.replaces {
		return &Refusal{Field: "table", Message: fmt.Sprintf("%s has no entries", c.table)}
	}
	rows, err := tx.Query(ctx, withoutEntrySQL, actor.Tenant)
	if err != nil {
		return err
	}
	absent, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if absent[0] == "" {
		return &Refusal{Field: c.field, Message: fmt.Sprintf("%s has no default", c.table)}
	}
	for i, value := range absent {
		absent[i] = fmt.Sprintf("%q", abridged(value))
	}
	return &Refusal{Field: c.field, Message: fmt.Sprintf("%s has no entry for %s; nothing was removed", c.table, strings.Join(absent, ", "))}
}
