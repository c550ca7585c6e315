package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"raffsync/outbox"
)

// What happens.

func (m *model) openWriter() {
	m.writers = append(m.writers, &modelWriter{number: int64(len(m.writers) + 1)})
}

func (m *model) someWriter(that func(*modelWriter) bool) *modelWriter {
	var some []*modelWriter
	for _, w := range m.writers {
		if that(w) {
			some = append(some, w)
		}
	}
	if len(some) == 0 {
		m.t.Skip("no such writer")
	}
	return some[m.pick("writer", len(some))]
}

func (m *model) begin() {
	w := m.someWriter(func(w *modelWriter) bool { return !w.gone && w.open == nil })
	most := 4
	if m.flip("a large batch") {
		most = 40
	}
	for range 1 + m.pick("events", most) {
		w.counter++
		m.made++
		route := "block"
		if m.pick("route", 3) == 0 {
			route = "pass"
		}
		w.open = append(w.open, &row{writer: w, begun: m.now, Delivery: outbox.Delivery{
			Lane: 3, Destination: modelDestination, Seq: outbox.Seq(w.number<<40 | w.counter), AcceptedAt: m.now,
			KeyHash: int64(m.pick("key", 3)), Route: route, Version: 1,
		}})
	}
}

func (m *model) commit() {
	w := m.someWriter(func(w *modelWriter) bool { return w.open != nil })
	for _, r := range w.open {
		r.stored = m.now
	}
	m.rows = append(m.rows, w.open...)
	w.open = nil
}

func (m *model) rollBack() {
	w := m.someWriter(func(w *modelWriter) bool { return w.open != nil })
	w.open = nil
	w.gone = true // an error ends a writer
}

// step is what the scheduler does at a signal.
func (m *model) step(look bool) {
	ctx := context.Background()
	if look {
		if err := m.s.lookAround(ctx); err != nil {
			if !errors.Is(err, errAnswerLost) {
				m.t.Fatal(err)
			}
			return
		}
	}
	q := m.queue()
	q.unread = q.unread || m.calm || m.flip("a hint")
	if err := m.s.read(ctx); err != nil {
		m.t.Fatal(err)
	}
	if err := m.s.refill(ctx); err != nil {
		m.t.Fatal(err)
	}
	m.s.admit()
	for _, f := range m.s.launches.take(1 << 20) {
		m.admitted(f)
		m.flights = append(m.flights, f)
	}
	m.check()
}

// admitted holds an admission against the order of its key.
func (m *model) admitted(f *flight) {
	d := m.find(f.delivery.Seq)
	if d == nil || d.Version != f.delivery.Version {
		return // it has changed, and its intent will be refused
	}
	for _, e := range m.rows {
		if e == d || e.KeyHash != d.KeyHash || e.passedOver || e.State == outbox.NeedsAction && m.s.targets[modelDestination].passes(&e.Delivery) {
			continue
		}
		if e.writer == d.writer && e.Seq < d.Seq || e.stored.Before(d.begun) {
			m.t.Fatalf("%s is admitted before %s", describe(d), describe(e))
		}
	}
}

func describe(r *row) string {
	return fmt.Sprintf("%x (key %d, %s, state %d, version %d, accepted %s, stored %s)", int64(r.Seq), r.KeyHash, r.Route, r.State, r.Version,
		r.AcceptedAt.Format("05.000"), r.stored.Format("05.000"))
}

func (m *model) intend() {
	var waiting []*flight
	for _, f := range m.flights {
		if m.intents[f] == nil {
			waiting = append(waiting, f)
		}
	}
	if len(waiting) == 0 {
		m.t.Skip("nothing to intend")
	}
	f := waiting[m.pick("flight", len(waiting))]
	r := m.find(f.delivery.Seq)
	if r == nil || r.Version != f.delivery.Version {
		m.drop(f)
		m.s.returned(f)
		return
	}
	for _, other := range m.intents {
		if other.KeyHash == r.KeyHash {
			m.t.Fatalf("%s and %s of one key are in flight", describe(r), describe(other))
		}
	}
	m.intents[f] = r
}

func (m *model) drop(f *flight) {
	delete(m.intents, f)
	m.flights = slices.DeleteFunc(m.flights, func(o *flight) bool { return o == f })
}

// finish stores what came of a flight that was sent, or that Prepare refused.
func (m *model) finish(sent bool, to string) {
	var some []*flight
	for _, f := range m.flights {
		if sent == (m.intents[f] != nil) {
			some = append(some, f)
		}
	}
	if len(some) == 0 {
		m.t.Skip("no such flight")
	}
	f := some[m.pick("flight", len(some))]
	m.drop(f)
	m.s.landed(f)
	r := m.find(f.delivery.Seq)
	stored := r != nil && r.Version == f.delivery.Version
	if stored {
		r.Version++
		r.Requests++
		switch to {
		case outbox.StateDelivered:
			m.rows = slices.DeleteFunc(m.rows, func(o *row) bool { return o == r })
		case outbox.StateWaiting:
			r.State, r.dueAt = outbox.Retry, m.now.Add(time.Duration(m.pick("delay", 20))*time.Second)
			m.due = append(m.due, dueRow{r.dueAt, r.Seq, r.KeyHash, modelDestination})
		case outbox.StateNeedsAction:
			r.State, r.dueAt = outbox.NeedsAction, time.Time{}
			r.passedOver = r.passedOver || m.s.targets[modelDestination].passes(&r.Delivery)
		}
		if m.flip("the answer is lost") && m.flip("really") {
			stored = false
		}
	}
	tell := func() { m.s.settled(f, to, stored) }
	if m.flip("the news come late") {
		m.news = append(m.news, tell)
	} else {
		tell()
	}
}

// operate is an operator's retry or skip of anything that is not on the wire.
func (m *model) operate(skip bool) {
	var may []*row
	for _, r := range m.rows {
		sending := false
		for _, s := range m.intents {
			sending = sending || s == r
		}
		if !sending {
			may = append(may, r)
		}
	}
	if len(may) == 0 {
		m.t.Skip("nothing to operate on")
	}
	m.release(may[m.pick("delivery", len(may))], skip)
}

func (m *model) release(r *row, skip bool) {
	r.Version++
	if skip {
		m.rows = slices.DeleteFunc(m.rows, func(o *row) bool { return o == r })
	} else {
		r.State, r.dueAt = outbox.Pending, time.Time{}
	}
	m.due = append(m.due, dueRow{m.now, r.Seq, r.KeyHash, modelDestination})
}

// check holds what memory may keep.
func (m *model) check() {
	q := m.queue()
	inFlight := 0
	for key, l := range q.lines {
		if len(l.followers) > keptFollowers {
			m.t.Fatalf("key %d keeps %d followers", key, len(l.followers))
		}
		if l.state > flying && (len(l.followers) > 0 || l.delivery != nil) {
			m.t.Fatalf("key %d rests, and keeps %d followers", key, len(l.followers))
		}
		if l.state == flying {
			inFlight++
		}
	}
	if inFlight != q.flying || inFlight != len(m.flights)+len(m.news) {
		m.t.Fatalf("%d lines fly, the queue counts %d, and %d flights are known", inFlight, q.flying, len(m.flights)+len(m.news))
	}
}
