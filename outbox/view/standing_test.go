package view

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestOpen_Decide(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	in := func(d time.Duration) *time.Time { at := now.Add(d); return &at }
	head := &outbox.DeliveryID{Destination: 3}
	byAyu := &Control{Kind: outbox.OfBreaker, Name: "books", State: outbox.ForcedOpen, Actor: "ayu", Reason: "stocktaking"}
	revoked := &Control{Kind: outbox.OfAuthorisation, Name: "books", State: outbox.Lost, Actor: "raffsync", Reason: "401 Unauthorized"}
	resting := &Fault{Problem: "no secret", Rests: true}
	retry := func(d time.Duration) open { return open{State: outbox.Retry, DueAt: in(d)} }
	limited := func(d time.Duration) open {
		return open{State: outbox.Retry, DueAt: in(d), Kind: int16(raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED)}
	}
	for name, c := range map[string]struct {
		row     open
		s       standing
		state   State
		waiting *Waiting
	}{
		"Fresh":                     {state: Pending},
		"HeldByException":           {row: open{State: outbox.NeedsAction}, s: standing{sending: true, head: head}, state: NeedsAction},
		"IntentIsOpen":              {row: retry(time.Second), s: standing{sending: true}, state: Sending},
		"BehindItsKey":              {s: standing{head: head}, state: WaitingFor, waiting: &Waiting{Reason: ForEarlier, BlockedBy: head}},
		"BehindItsKeyBeforeBreaker": {s: standing{head: head, breaker: Breaker{State: BreakerOpen}}, state: WaitingFor, waiting: &Waiting{Reason: ForEarlier, BlockedBy: head}},
		"Paused":                    {row: retry(time.Hour), s: standing{paused: byAyu, breaker: Breaker{State: BreakerOpen}}, state: WaitingFor, waiting: &Waiting{Reason: ForPause, Control: byAyu}},
		"PausedBehindItsKey":        {s: standing{head: head, paused: byAyu}, state: WaitingFor, waiting: &Waiting{Reason: ForEarlier, BlockedBy: head}},
		"Unauthorised":              {row: retry(-time.Hour), s: standing{paused: revoked}, state: WaitingFor, waiting: &Waiting{Reason: ForAuthorisation, Control: revoked}},
		"PausedOnTheWire":           {s: standing{sending: true, paused: byAyu}, state: Sending},
		"HeldOpen":                  {s: standing{breaker: held{{outbox.OfBreaker, "books"}: byAyu}.breaker("books", Breaker{State: BreakerClosed})}, state: WaitingFor, waiting: &Waiting{Reason: ForBreaker, Control: byAyu}},
		"RateHasNoRoom":             {s: standing{limits: limits{RateFreeAt: in(time.Second), Busy: true}}, state: WaitingFor, waiting: &Waiting{Reason: ForPace, Until: in(time.Second)}},
		"RateHasRoom":               {s: standing{limits: limits{RateFreeAt: in(-time.Second)}}, state: Pending},
		"QuotaIsOver":               {s: standing{limits: limits{RateFreeAt: in(time.Second), QuotaUntil: in(time.Hour)}}, state: WaitingFor, waiting: &Waiting{Reason: ForQuota, Until: in(time.Hour)}},
		"QuotaIsReset":              {s: standing{limits: limits{QuotaUntil: in(-time.Second)}}, state: Pending},
		"SlotsAreTaken":             {s: standing{limits: limits{Busy: true}}, state: WaitingFor, waiting: &Waiting{Reason: ForSlot}},
		"RetryAhead":                {row: retry(time.Minute), state: WaitingFor, waiting: &Waiting{Reason: ForRetry, Until: in(time.Minute)}},
		"RetryIsDue":                {row: retry(-time.Second), state: Pending},
		"CannotBeUsed":              {row: retry(time.Hour), s: standing{fault: resting, breaker: Breaker{State: BreakerOpen}}, state: WaitingFor, waiting: &Waiting{Reason: ForConfiguration, Fault: resting}},
		"CannotBeUsedBehindItsKey":  {s: standing{fault: resting, head: head}, state: WaitingFor, waiting: &Waiting{Reason: ForEarlier, BlockedBy: head}},
		"GoesOnAsBefore":            {s: standing{fault: &Fault{Problem: "no secret"}}, state: Pending},
		"BreakerOpen":               {s: standing{breaker: Breaker{State: BreakerOpen, ProbeAt: in(time.Second)}}, state: WaitingFor, waiting: &Waiting{Reason: ForBreaker, Until: in(time.Second)}},
		"BreakerOpenUntilToldSo":    {row: retry(time.Hour), s: standing{breaker: Breaker{State: BreakerOpen}}, state: WaitingFor, waiting: &Waiting{Reason: ForBreaker}},
		"BreakerHalfOpen":           {s: standing{breaker: Breaker{State: BreakerHalfOpen}}, state: Pending},
		"RetryAfterTheProbe":        {row: retry(time.Hour), s: standing{breaker: Breaker{State: BreakerOpen, ProbeAt: in(time.Second)}}, state: WaitingFor, waiting: &Waiting{Reason: ForRetry, Until: in(time.Hour)}},
		"RetryBeforeTheProbe":       {row: retry(time.Second), s: standing{breaker: Breaker{State: BreakerOpen, ProbeAt: in(time.Minute)}}, state: WaitingFor, waiting: &Waiting{Reason: ForBreaker, Until: in(time.Minute)}},
		"AskedToBeLeftAlone":        {s: standing{breaker: Breaker{State: BreakerClosed, PacedUntil: in(time.Minute)}}, state: WaitingFor, waiting: &Waiting{Reason: ForPace, Until: in(time.Minute)}},
		"WasAskedToBeLeftAlone":     {s: standing{breaker: Breaker{State: BreakerClosed, PacedUntil: in(-time.Minute)}}, state: Pending},
		"RateLimited":               {row: limited(time.Minute), state: WaitingFor, waiting: &Waiting{Reason: ForPace, Until: in(time.Minute)}},
		"RateLimitedWithThePause":   {row: limited(time.Minute + time.Millisecond), s: standing{breaker: Breaker{PacedUntil: in(time.Minute)}}, state: WaitingFor, waiting: &Waiting{Reason: ForPace, Until: in(time.Minute)}},
		"RetryWithTheProbe":         {row: retry(time.Minute + time.Millisecond), s: standing{breaker: Breaker{State: BreakerOpen, ProbeAt: in(time.Minute)}}, state: WaitingFor, waiting: &Waiting{Reason: ForBreaker, Until: in(time.Minute)}},
		"RetryAfterThePause":        {row: retry(time.Hour), s: standing{breaker: Breaker{PacedUntil: in(time.Minute)}}, state: WaitingFor, waiting: &Waiting{Reason: ForRetry, Until: in(time.Hour)}},
	} {
		t.Run(name, func(t *testing.T) {
			c.s.now = now
			state, waiting := c.row.decide(c.s)
			if state != c.state {
				t.Errorf("state %s, want %s", state, c.state)
			}
			if diff := cmp.Diff(c.waiting, waiting); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWorstBreakers(t *testing.T) {
	at := func(s int64) *time.Time { v := time.Unix(s, 0).UTC(); return &v }
	rows := []*breakerRow{
		{Destination: 1, State: BreakerClosed, Since: *at(1), PacedUntil: at(99)},
		{Destination: 1, State: BreakerOpen, Reason: "503 x5", Since: *at(20), ProbeAt: at(50)},
		{Destination: 1, State: BreakerOpen, Reason: "503 x6", Since: *at(10), ProbeAt: at(40)},
		{Destination: 1, State: BreakerHalfOpen, Reason: "probing", Since: *at(5)},
		{Destination: 2, State: BreakerClosed, Since: *at(1)},
	}
	want := map[int32]Breaker{
		1: {State: BreakerOpen, Reason: "503 x6", Since: at(10), ProbeAt: at(40), PacedUntil: at(99)},
		2: {State: BreakerClosed},
	}
	if diff := cmp.Diff(want, worstBreakers(rows)); diff != "" {
		t.Error(diff)
	}
}

// One event to every kind of standing there is, read back by each of the ways.
func TestTx_DeliveriesAreDescribed(t *testing.T) {
	h := openHouse(t, 2)
	names := []string{"a-delivered", "b-pending", "c-sending", "d-retry", "e-breaker", "f-blocked", "g-held", "h-behind-a-pass", "i-paced", "j-unusable"}
	ids := make(map[string]int32)
	for _, name := range names {
		ids[name] = h.destination(t, "kopi", name)
	}
	h.exec(t, `INSERT INTO configuration (tenant, version, document, digest, actor, reason) VALUES
		('kopi', 1, '{"routes": null}', '\x00', 'a', 'r'),
		('kopi', 2, '{"routes": [{"name": "sales", "on_exception": "block"}, {"name": "lenient", "on_exception": "pass"}]}', '\x00', 'a', 'r')`)
	first := h.event(t, seeded{seq: 1<<40 + 1, key: "order/7"})
	second := h.event(t, seeded{seq: 1<<40 + 2, key: "order/7", at: h.base.Add(time.Second)})
	far := time.Now().Add(24 * time.Hour).Truncate(time.Microsecond).UTC()
	for _, name := range names[1:] {
		h.deliver(t, "kopi", second, ids[name])
	}
	blocker := h.deliver(t, "kopi", first, ids["f-blocked"])
	h.deliver(t, "kopi", first, ids["h-behind-a-pass"])
	exception := h.number(t, `INSERT INTO exceptions (tenant, class, destination, held) VALUES ('kopi', 'VALIDATION', $1, 2) RETURNING id`, ids["g-held"])
	hold := func(seq int64, name, route string) {
		h.exec(t, `UPDATE deliveries SET state = 2, exception = $1, route = $2 WHERE seq = $3 AND destination = $4`, exception, route, seq, ids[name])
		h.exec(t, `INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT $1, lane, destination, seq, tenant FROM deliveries WHERE seq = $2 AND destination = $3`, exception, seq, ids[name])
	}
	hold(1<<40+2, "g-held", "sales")
	hold(1<<40+1, "h-behind-a-pass", "lenient")
	h.exec(t, `UPDATE deliveries SET state = 1, due_at = $1, requests = 1, attempts = 1, kind = 2 WHERE destination = $2`, far, ids["d-retry"])
	h.exec(t, `INSERT INTO breakers (tenant, destination, replica, state, reason, probe_at) VALUES ('kopi', $1, 1, 'OPEN', '503', $2)`, ids["e-breaker"], far)
	h.exec(t, `INSERT INTO breakers (tenant, destination, replica, state, reason, paced_until) VALUES ('kopi', $1, 1, 'CLOSED', '', $2)`, ids["i-paced"], far)
	h.exec(t, `INSERT INTO intents (replica, batch, lanes, destinations, seqs, steps, attempts, revisions)
		SELECT 1, 1, ARRAY[lane], ARRAY[destination], ARRAY[seq], ARRAY[step], ARRAY[1], ARRAY[0::smallint] FROM deliveries WHERE destination = $1`, ids["c-sending"])
	h.exec(t, `INSERT INTO processes (id, alive_until) VALUES (1, $1), (2, $1), (3, now() - interval '1 second')`, far)
	h.exec(t, `INSERT INTO configuration_use (tenant, process, destination, version, problem, rests, since) VALUES
		('kopi', 1, $1, 2, 'goes on', false, $3), ('kopi', 2, $1, 2, 'no secret', true, $3), ('kopi', 3, $2, 2, 'of one that died', true, $3),
		('kopi', 2, 0, 2, '', false, $3), ('teh', 2, $2, 2, 'of another tenant', true, $3)`, ids["j-unusable"], ids["b-pending"], h.base)
	settled := outbox.DeliveryID{Event: second, Destination: ids["a-delivered"]}
	h.attempt(t, "kopi", settled, h.base.Add(2*time.Second), 1, 2, "WAITING")
	h.attempt(t, "kopi", settled, h.base.Add(3*time.Second), 2, 1, "DELIVERED")

	type line struct {
		State   State
		Waiting *Waiting
	}
	want := map[string]line{
		"a-delivered":     {State: Delivered},
		"b-pending":       {State: Pending},
		"c-sending":       {State: Sending},
		"d-retry":         {WaitingFor, &Waiting{Reason: ForRetry, Until: &far}},
		"e-breaker":       {WaitingFor, &Waiting{Reason: ForBreaker, Until: &far}},
		"f-blocked":       {WaitingFor, &Waiting{Reason: ForEarlier, BlockedBy: &blocker}},
		"g-held":          {State: NeedsAction},
		"h-behind-a-pass": {State: Pending},
		"i-paced":         {WaitingFor, &Waiting{Reason: ForPace, Until: &far}},
		"j-unusable":      {WaitingFor, &Waiting{Reason: ForConfiguration, Fault: &Fault{Problem: "no secret", Version: 2, Since: h.base, Rests: true}}},
	}
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		of, err := tx.DeliveriesOf(ctx, []outbox.EventID{first, second})
		if err != nil {
			return err
		}
		got := make(map[string]line)
		for _, d := range of[second] {
			got[d.Destination] = line{d.State, d.Waiting}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("deliveries of the event: %s", diff)
		}
		byID, err := tx.Deliveries(ctx, []outbox.DeliveryID{settled, blocker, {Event: first, Destination: ids["a-delivered"]}})
		if err != nil {
			return err
		}
		if d := byID[settled]; d == nil || d.State != Delivered || d.SettledAt == nil || d.Version != 0 {
			t.Errorf("the settled delivery is %+v", d)
		}
		if d := byID[blocker]; d == nil || d.State != Pending || d.Version != 1 {
			t.Errorf("the blocking delivery is %+v", d)
		}
		if d, ok := byID[outbox.DeliveryID{Event: first, Destination: ids["a-delivered"]}]; ok {
			t.Errorf("a delivery that never was is %+v", d)
		}
		for state, n := range map[State]int{"": 11, NeedsAction: 2, WaitingFor: 5, Pending: 3, Sending: 1} {
			page, err := tx.OpenDeliveries(ctx, OpenFilter{State: state}, 100, "")
			if err != nil {
				return err
			}
			if len(page.Nodes) != n || page.HasNext {
				t.Errorf("%d open deliveries in state %q (more: %t), want %d", len(page.Nodes), state, page.HasNext, n)
			}
		}
		held, err := tx.Held(ctx, []HeldBy{{Exception: exception, First: 1}, {Exception: exception + 1, First: 5}})
		if err != nil {
			return err
		}
		if len(held[0].Nodes) != 1 || !held[0].HasNext || len(held[1].Nodes) != 0 {
			t.Errorf("held: %+v", held)
		}
		rest, err := tx.Held(ctx, []HeldBy{{Exception: exception, First: 1, After: held[0].EndCursor}})
		if err != nil {
			return err
		}
		if len(rest[0].Nodes) != 1 || rest[0].HasNext || rest[0].Nodes[0].Ref == held[0].Nodes[0].Ref {
			t.Errorf("the rest held: %+v", rest)
		}
		oldest, err := tx.OldestOpen(ctx, []int32{ids["f-blocked"], ids["b-pending"], ids["a-delivered"]})
		if err != nil {
			return err
		}
		if len(oldest) != 2 || oldest[ids["f-blocked"]].Ref != blocker {
			t.Errorf("oldest open: %+v", oldest)
		}
		attempts, err := tx.Attempts(ctx, []AttemptsOf{{settled, 1}, {blocker, 5}, {settled, 5}})
		if err != nil {
			return err
		}
		if len(attempts[0]) != 1 || *attempts[0][0].Attempt != 2 || len(attempts[1]) != 0 || len(attempts[2]) != 2 {
			t.Errorf("attempts: %v", attempts)
		}
		return nil
	})
}

// A held delivery blocks those behind it, or lets them pass, by the route that is in force
// or, where its destination drains, was when that began.
func TestTx_ARouteThatDrainsLetsPassToo(t *testing.T) {
	h := openHouse(t, 2)
	books := h.destination(t, "kopi", "books")
	h.exec(t, `INSERT INTO configuration (tenant, version, document, digest, actor, reason) VALUES ('kopi', 1, '{
		"routes": [{"name": "block, which passed", "on_exception": "block"}, {"name": "pass, which blocked", "on_exception": "pass"}],
		"draining": [
			{"routes": [{"name": "pass", "on_exception": "pass"}, {"name": "block", "on_exception": "block"},
				{"name": "block, which passed", "on_exception": "pass"}, {"name": "pass, which blocked", "on_exception": "block"}]},
			{"routes": [{"name": "skipped", "on_exception": "pass"}], "skip": {"actor": "ayu", "reason": "closed"}}]}', '\x00', 'a', 'r')`)
	first := h.event(t, seeded{seq: 1<<40 + 1, key: "order/7"})
	second := h.event(t, seeded{seq: 1<<40 + 2, key: "order/7", at: h.base.Add(time.Second)})
	h.deliver(t, "kopi", first, books)
	h.deliver(t, "kopi", second, books)
	for route, want := range map[string]State{
		"pass": Pending, "block": WaitingFor, "skipped": WaitingFor, "block, which passed": WaitingFor, "pass, which blocked": Pending, "gone": WaitingFor,
	} {
		h.exec(t, `UPDATE deliveries SET state = 2, exception = 1, route = $1 WHERE seq = $2`, route, first.Seq)
		h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
			of, err := tx.DeliveriesOf(ctx, []outbox.EventID{second})
			if err == nil && of[second][0].State != want {
				t.Errorf("behind one of route %q it is %s, want %s", route, of[second][0].State, want)
			}
			return err
		})
	}
}

// What operators hold is told of every delivery that it is about, of destinations and
// of sources.
func TestTx_TellsWhatOperatorsHold(t *testing.T) {
	h := openHouse(t, 2)
	e := h.event(t, seeded{seq: 1<<40 + 1, key: "order/7"})
	for _, name := range []string{"a-free", "b-paused", "c-held-open"} {
		h.deliver(t, "kopi", e, h.destination(t, "kopi", name))
	}
	h.exec(t, `INSERT INTO controls (tenant, kind, name, state, reason, actor) VALUES
		('kopi', 'destination', 'b-paused', 'PAUSED', 'stocktaking', 'ayu'), ('kopi', 'breaker', 'c-held-open', 'OPEN', 'they asked', 'ayu'),
		('teh', 'destination', 'a-free', 'PAUSED', 'another tenant', 'budi')`)
	waits := func(want map[string]string) {
		t.Helper()
		h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
			of, err := tx.DeliveriesOf(ctx, []outbox.EventID{e})
			got := make(map[string]string)
			for _, d := range of[e] {
				got[d.Destination] = string(d.State)
				if w := d.Waiting; w != nil && w.Control != nil {
					got[d.Destination] += " " + string(w.Reason) + " " + w.Control.Actor + " " + w.Control.Reason
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			return err
		})
	}
	waits(map[string]string{"a-free": "PENDING", "b-paused": "WAITING PAUSED ayu stocktaking", "c-held-open": "WAITING BREAKER ayu they asked"})
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		all, err := tx.Destinations(ctx)
		for _, d := range all {
			if paused := d.Paused != nil; paused != (d.Name == "b-paused") {
				t.Errorf("%s is paused: %t", d.Name, paused)
			}
			if held := d.Breaker.Forced != nil; held != (d.Name == "c-held-open") || held && (d.Breaker.State != BreakerOpen || d.Breaker.Reason != "they asked") {
				t.Errorf("%s: breaker %+v", d.Name, d.Breaker)
			}
		}
		return err
	})
	h.exec(t, `INSERT INTO controls (tenant, kind, name, state, reason, actor)
		SELECT 'kopi', 'source', s.name, 'PAUSED', 'migration', 'ayu' FROM events e JOIN sources s ON s.id = e.source`)
	waits(map[string]string{"a-free": "WAITING PAUSED ayu migration", "b-paused": "WAITING PAUSED ayu stocktaking", "c-held-open": "WAITING PAUSED ayu migration"})
}
