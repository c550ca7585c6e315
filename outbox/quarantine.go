package outbox

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// ClassQuarantined is the class of the exception that webhooks raise of which no event
// can be made: one for each source and code, however many they are.
const ClassQuarantined = "QUARANTINED"

// Quarantine says why no event can be made of a webhook, and what is known of it. The
// [Event] beside it carries tenant, source, the id of the request, and the beginning of
// its body as payload; nothing else of it is kept.
type Quarantine struct {
	// Code is what is wrong, for programs, and is part of the exception's cause; Reason
	// says it in words, without quoting the body.
	Code, Reason string
	ContentType  string
	Headers      map[string]string // names in lower case
	Query        string            // as it came
	// BodyBytes and BodySHA256 are of the whole body.
	BodyBytes  int64
	BodySHA256 []byte
}

const (
	// quarantineCauseSQL is the open exception of a source and code, or the number that a
	// new one will have. It bounds the transaction's waits.
	quarantineCauseSQL = `
SELECT coalesce((SELECT id FROM exceptions
                  WHERE tenant = $1 AND class = '` + ClassQuarantined + `' AND destination = 0 AND source = $2 AND rule = '' AND code = $3 AND field = '' AND closed_at IS NULL),
                nextval('exceptions_id_seq')),
       set_config('lock_timeout', $4, true)`

	// quarantineSQL returns the number of the exception where anything new was kept, and
	// the ids of what was new.
	quarantineSQL = `
WITH kept AS (
  INSERT INTO quarantined (tenant, source, id, exception, code, reason, content_type, headers, query, body_bytes, body_sha256, body)
  SELECT $1, $2, q.id, $3, $4, q.reason, q.content_type, q.headers::jsonb, q.query, q.body_bytes, q.body_sha256, q.body
    FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bytea[], $12::bytea[])
      AS q(id, reason, content_type, headers, query, body_bytes, body_sha256, body)
  ON CONFLICT DO NOTHING
  RETURNING id
), raised AS (
  INSERT INTO exceptions (id, tenant, class, source, code, sample, held) OVERRIDING SYSTEM VALUE
  SELECT $3, $1, '` + ClassQuarantined + `', $2, $4, $13, count(*) FROM kept HAVING count(*) > 0
  ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL
  DO UPDATE SET held = exceptions.held + excluded.held, version = exceptions.version + 1, last_at = now()
  RETURNING id, xmax = 0 AS opened
), announced AS (
  INSERT INTO timeline (tenant, exception, what, reason) SELECT $1, id, 'exception', $13 FROM raised WHERE opened
)
SELECT raised.id, kept.id FROM raised, kept`
)

// quarantine keeps webhooks of which no event can be made, each once however often it is
// sent, and raises one exception for each source and code. Those whose exception somebody
// else holds for long are [Deferred].
func (w *Writer) quarantine(ctx context.Context, items []*item) error {
	compare := func(a, b *item) int {
		x, y := &a.entry.Event, &b.entry.Event
		return cmp.Or(cmp.Compare(x.Tenant, y.Tenant), cmp.Compare(x.Source, y.Source), cmp.Compare(a.entry.Quarantine.Code, b.entry.Quarantine.Code))
	}
	// Within a cause by id: writers that keep the same ones lock them in one order.
	slices.SortFunc(items, func(a, b *item) int {
		return cmp.Or(compare(a, b), cmp.Compare(a.entry.Event.ID, b.entry.Event.ID), cmp.Compare(a.arrival, b.arrival))
	})
	w.warned.Store(false)
	patience := conflictPatience
	known := make(map[string]int64) // kept already, by tenant
	for len(items) > 0 {
		n := 1
		for n < len(items) && compare(items[0], items[n]) == 0 {
			n++
		}
		before := time.Now()
		if err := keepOfCause(ctx, items[:n], patience, w.keepQuarantined); err != nil {
			return err
		}
		if items[0].result.Verdict == Deferred {
			patience = max(patience-time.Since(before), time.Millisecond)
		}
		for _, it := range items[:n] {
			if it.result.Verdict == Duplicate {
				known[it.entry.Event.Tenant]++
			}
		}
		items = items[n:]
	}
	if w.warned.Load() {
		return errUnclear
	}
	return w.countDuplicates(ctx, known)
}

// keepQuarantined stores webhooks of one source and code.
func (w *Writer) keepQuarantined(ctx context.Context, items []*item, patience time.Duration) error {
	first := items[0].entry
	var ids, reasons, contentTypes, queries []string
	var headers []*string
	var lengths []int64
	var sums, bodies [][]byte
	for _, it := range items {
		q := it.entry.Quarantine
		encoded, err := referencesJSON(q.Headers)
		if err != nil {
			return err
		}
		ids, reasons = append(ids, it.entry.Event.ID), append(reasons, storable(q.Reason))
		contentTypes, queries = append(contentTypes, q.ContentType), append(queries, q.Query)
		headers, lengths = append(headers, encoded), append(lengths, q.BodyBytes)
		sums, bodies = append(sums, q.BodySHA256), append(bodies, payloadOf(&it.entry.Event))
	}
	fresh := make(map[string]bool)
	err := pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		var cause int64
		code := truncated(first.Quarantine.Code, longestCause)
		err := tx.QueryRow(ctx, quarantineCauseSQL, first.Event.Tenant, first.Event.Source, code, strconv.FormatInt(patience.Milliseconds(), 10)).Scan(&cause, nil)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, quarantineSQL, first.Event.Tenant, first.Event.Source, cause, code,
			ids, reasons, contentTypes, headers, queries, lengths, sums, bodies, storable(first.Quarantine.Reason))
		if err != nil {
			return err
		}
		var raised int64
		var id string
		_, err = pgx.ForEachRow(rows, []any{&raised, &id}, func() error {
			fresh[id] = true
			return nil
		})
		if sqlState(err) == stateUnique || err == nil && len(fresh) > 0 && raised != cause {
			return errCauseClosed // its number is that of a closed one, or not that of the open one
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, it := range items {
		it.result = Result{Verdict: Duplicate}
		if fresh[it.entry.Event.ID] {
			it.result = Result{Verdict: Quarantined}
			delete(fresh, it.entry.Event.ID) // a second one of the batch is sent again
		}
	}
	return nil
}

// keepOfCause keeps what belongs under one exception, in a transaction of its own, so
// that whoever holds one exception waits for no other. What Postgres refuses is found by
// halving. keep gives each its result where it succeeds.
func keepOfCause[T interface{ settle(Result) }](ctx context.Context, all []T, patience time.Duration, keep func(context.Context, []T, time.Duration) error) error {
	err := keep(ctx, all, patience)
	if errors.Is(err, errCauseClosed) {
		err = keep(ctx, all, patience)
	}
	refused, ok := refusal(err)
	switch {
	case err == nil:
	case sqlState(err) == stateLockTimeout, stateClass(err) == "40", errors.Is(err, errCauseClosed):
		for _, one := range all {
			one.settle(Result{Verdict: Deferred, Reason: err.Error()})
		}
	case !ok:
		return err
	case len(all) == 1:
		all[0].settle(refused)
	default:
		half := len(all) / 2
		if err := keepOfCause(ctx, all[:half], patience, keep); err != nil {
			return err
		}
		return keepOfCause(ctx, all[half:], patience, keep)
	}
	return nil
}

func (it *item) settle(r Result) { it.result = r }
