package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// pageWithin is how soon a page is to be there, in ms.
const pageWithin = 50

// What a shop has after a year, made by SQL: streaming it in would take hours. Past
// exceptions and their escalations, a thousand open ones with what is at stake, and one that
// holds a great many deliveries. Triggers rest meanwhile: nobody is to be told of these.
const (
	seedExceptionsSQL = `
WITH x AS (
  INSERT INTO exceptions (tenant, class, destination, rule, code, sample, opened_at, last_at, held, status, closed_at)
  SELECT $1, 'VALIDATION', d.id, 'status 422', 'c' || g, 'the platform finds the data invalid', now() - g * interval '30 s', now() - g * interval '30 s',
         CASE WHEN g % 1000 = 0 THEN 3 ELSE 0 END, CASE WHEN g % 1000 = 0 THEN 'NEEDS_ACTION' ELSE 'RESOLVED' END, CASE WHEN g % 1000 > 0 THEN now() - g * interval '29 s' END
    FROM generate_series(1, $2::int) g, destinations d WHERE d.name = 'shelf'
  RETURNING id, tenant, opened_at, closed_at
), g AS (
  INSERT INTO escalations (exception, tenant, from_at, repeated_at) SELECT id, tenant, opened_at, opened_at FROM x
)
INSERT INTO exposures (exception, currency, tenant, amount, units, deliveries)
SELECT id, c, tenant, id % 1000, 3, 3 FROM x, unnest(ARRAY['IDR', 'USD']) c WHERE closed_at IS NULL`

	seedHeldSQL = `
WITH x AS (
  INSERT INTO exceptions (tenant, class, destination, rule, code, field, looked_up, sample, held)
  SELECT $1, $7, d.id, 'look-up', $3, 'sku', CASE $7 WHEN 'SKU_UNMAPPED' THEN $3 END, 'no mapping', $2 FROM destinations d WHERE d.name = $8 RETURNING id, tenant, destination, opened_at
), g AS (
  INSERT INTO escalations (exception, tenant, from_at, repeated_at) SELECT id, tenant, opened_at, opened_at FROM x
), e AS (
  INSERT INTO events (tenant, seq, key_hash, source, lane, unrouted, occurred_at, id, type, ordering_key, outlet, content_type, payload)
  SELECT $1, n, n, s.id, n % 64, false, now(), 'held-' || n, $4, 'held/' || n, '', 'application/json', $5
    FROM generate_series(1, $2::int) n, sources s WHERE s.name = '` + source + `' RETURNING seq, accepted_at, lane, key_hash
), d AS (
  INSERT INTO deliveries (seq, event, event_at, accepted_at, key_hash, exception, destination, lane, state, kind, tenant, route)
  SELECT seq, seq, accepted_at, accepted_at, key_hash, x.id, x.destination, lane, 2, $6, $1, $8 FROM e, x RETURNING lane, destination, seq, exception
), h AS (
  INSERT INTO holds (exception, lane, destination, seq, tenant, currency, amount, units) SELECT exception, lane, destination, seq, $1, 'IDR', 38000, 1 FROM d
), s AS (
  INSERT INTO exposures (exception, currency, tenant, amount, units, deliveries) SELECT id, 'IDR', tenant, 38000::numeric * $2, $2, $2 FROM x
)
INSERT INTO tallies (tenant, destination, shard, accepted, needs_action) SELECT $1, destination, 1, $2, $2 FROM x`
)

// What an operator's screen asks.
const (
	queueQuery = `{ exceptions(filter: {open: true}, orderBy: EXPOSURE_DESC, first: 50) {
  nodes { id class title heldCount severity exposure { amount currency } turn { team until } } pageInfo { endCursor hasNextPage } } }`
	pastQuery = `{ exceptions(first: 50) {
  nodes { id class title heldCount status exposure { amount currency } } pageInfo { endCursor hasNextPage } } }`
	oneQuery = `{ exceptions(filter: {open: true, class: "SKU_UNMAPPED"}, first: 1) { nodes {
  version heldCount exposure { amount currency } explanation { what why nextStep } cause { table value suggestions { value label } }
  held(first: 50) { nodes { id state waiting { reason } event { eventId orderingKey } } pageInfo { hasNextPage } } history { at actor action reason } } } }`
)

// queue reads the pages of a queue with a million exceptions behind it, one of which holds
// half a million deliveries; and releases those.
func (r *rig) queue(ctx context.Context) (figures []Figure, err error) {
	past, held := r.scale(million, 10_000), r.scale(million/2, 5_000)
	s, err := r.openShop(ctx, template, missing...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	r.say("queue: making %s exceptions, and %s deliveries held", count(float64(past)), count(float64(held)))
	if err := s.seed(ctx, seedExceptionsSQL, tenant, past); err != nil {
		return nil, err
	}
	if err := s.seedHeld(ctx, held, raffsyncv1.OutcomeKind_OUTCOME_KIND_SKU_UNMAPPED, "shelf"); err != nil {
		return nil, err
	}
	e, err := r.startEngine(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.stop()) }()
	o, err := s.operator(ctx, e)
	if err != nil {
		return nil, err
	}
	for _, page := range []struct{ name, query string }{
		{"queue, most at stake first, " + count(float64(past)) + " past", queueQuery},
		{"all exceptions, newest first, " + count(float64(past)) + " past", pastQuery},
		{"an exception that holds " + count(float64(held)), oneQuery},
	} {
		took, err := o.times(ctx, page.query)
		if err != nil {
			return nil, err
		}
		r.say("%s: %s ms", page.name, number(median(took)))
		figures = append(figures, figure(page.name, "ms", goal{must: pageWithin, aim: pageWithin / 2, lower: true}, took, "by GraphQL over HTTP; what is past is made by SQL"))
	}
	change, err := s.mapMissing(ctx)
	begin := time.Now()
	if err != nil {
		return nil, err
	}
	r.say("queue: %s are released by a change of %s ms", count(float64(held)), number(float64(change.Microseconds())/1000))
	if err := s.untilDelivered(ctx, held); err != nil {
		return nil, err
	}
	all := time.Since(begin)
	return append(figures,
		figure("the mapping that releases "+count(float64(held)), "ms", goal{lower: true}, []float64{float64(change.Microseconds()) / 1000}, "one change of one exception"),
		figure("until all of them are delivered", "s", goal{lower: true}, []float64{all.Seconds()}, count(float64(held)/all.Seconds())+"/s"),
	), nil
}

// seed makes data, with the triggers at rest.
func (s *shop) seed(ctx context.Context, sql string, arguments ...any) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sql, arguments...)
		return err
	})
	if err == nil {
		_, err = s.db.Exec(ctx, `VACUUM (ANALYZE)`)
	}
	return err
}

// seedHeld has one exception hold so many deliveries of as many keys.
func (s *shop) seedHeld(ctx context.Context, n int, kind raffsyncv1.OutcomeKind, destination string) error {
	return s.seed(ctx, seedHeldSQL, tenant, n, missingSKU, missingType, payload, int16(kind), outbox.Class(kind), destination)
}

// operator asks the engine's API.
type operator struct{ url, secret string }

// operator gives one a login.
func (s *shop) operator(ctx context.Context, e *engine) (*operator, error) {
	store, err := outbox.Open(ctx, outbox.Config{DSN: s.dsn})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	o := &operator{"http://" + e.http + "/graphql", rand.Text()}
	return o, store.SetOperator(ctx, actor, "bench", o.secret)
}

// asked is how often a page is asked for.
const asked = 20

// times asks for a page a few times, and tells how many ms each took. The first time,
// which finds nothing in memory and checks the password, does not count.
func (o *operator) times(ctx context.Context, query string) (took []float64, err error) {
	for range asked + 1 {
		begin := time.Now()
		if err := o.ask(ctx, query); err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(begin).Microseconds())/1000)
	}
	return slices.Clone(took[1:]), nil
}

func (o *operator) ask(ctx context.Context, query string) error {
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth("bench", o.secret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var answer struct{ Errors []struct{ Message string } }
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Errors) > 0 {
		return fmt.Errorf("the API answers %s: %s", response.Status, text)
	}
	return nil
}
