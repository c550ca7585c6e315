package dispatch

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"raffsync/outbox"
)

func TestScheduler_SendsEachDeliveryInOrderAndForgetsNone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		blockPasses := false
		t.Repeat(map[string]func(*rapid.T){
			"":           func(*rapid.T) { m.tick(time.Millisecond) },
			"OpenWriter": func(*rapid.T) { m.openWriter() },
			"Begin":      func(*rapid.T) { m.begin() },
			"Commit":     func(*rapid.T) { m.commit() },
			"RollBack":   func(*rapid.T) { m.rollBack() },
			"LoseSession": func(*rapid.T) { // what it left behind may still commit
				m.someWriter(func(w *modelWriter) bool { return !w.gone }).gone = true
			},
			"NoticeLoss": func(*rapid.T) {
				m.someWriter(func(w *modelWriter) bool { return w.gone && w.open == nil }).closed = true
			},
			"ForgetWriter": func(*rapid.T) {
				m.someWriter(func(w *modelWriter) bool {
					return w.closed && !slices.ContainsFunc(m.rows, func(r *row) bool { return r.writer == w })
				}).unlisted = true
			},
			"Pass":    func(*rapid.T) { m.tick(3 * time.Second) },
			"Step":    func(*rapid.T) { m.step(false) },
			"Look":    func(*rapid.T) { m.step(true) },
			"Intend":  func(*rapid.T) { m.intend() },
			"Deliver": func(*rapid.T) { m.finish(true, outbox.StateDelivered) },
			"Wait":    func(*rapid.T) { m.finish(true, outbox.StateWaiting) },
			"Hold":    func(*rapid.T) { m.finish(true, outbox.StateNeedsAction) },
			"Refuse":  func(*rapid.T) { m.finish(false, outbox.StateNeedsAction) },
			"Retry":   func(*rapid.T) { m.operate(false) },
			"Skip":    func(*rapid.T) { m.operate(true) },
			"Hear": func(t *rapid.T) {
				if len(m.news) == 0 {
					t.Skip("no news")
				}
				m.news[0]()
				m.news = m.news[1:]
			},
			"ChangePlan": func(*rapid.T) {
				blockPasses = !blockPasses
				for _, r := range m.rows { // those that were let past stay so
					r.passedOver = r.passedOver || blockPasses && r.State == outbox.NeedsAction
				}
				m.s.adopt(m.plan(blockPasses))
			},
		})
		m.finishEverything()
	})
}

// endless is a table in which one key's deliveries, the first of them held, never end.
type endless struct{ at int64 }

func (*endless) Writers(context.Context) ([]outbox.WriterState, error) {
	return []outbox.WriterState{{Writer: 1}}, nil
}

func (e *endless) Read(_ context.Context, _ []outbox.WriterState, ranges []outbox.Range) ([][]outbox.Delivery, bool, error) {
	found := make([][]outbox.Delivery, len(ranges))
	for i, r := range ranges {
		for range r.Limit {
			e.at++
			d := outbox.Delivery{Lane: r.Lane, Destination: r.Destination, Seq: outbox.Seq(1<<40 + e.at), AcceptedAt: time.UnixMicro(e.at), KeyHash: 1}
			if e.at == 1 {
				d.State = outbox.NeedsAction
			}
			found[i] = append(found[i], d)
		}
	}
	return found, true, nil
}

func (*endless) ReadLines(_ context.Context, lines []outbox.Line, _ int) ([][]outbox.Delivery, error) {
	return make([][]outbox.Delivery, len(lines)), nil
}

func (*endless) TakeDue(context.Context, map[int16]outbox.Lease, []outbox.LaneDestination, int) ([]outbox.Due, error) {
	return nil, nil
}

// Nothing that was read can go, so no news will come of it: without a wake the reading
// would go on at the next tick, four pages at a time.
func TestScheduler_ReadsOnWhereNothingCanGo(t *testing.T) {
	m := newModel(nil)
	m.s.table = &endless{}
	if err := m.s.lookForWriters(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.s.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-m.s.news.signal:
	default:
		t.Error("nothing makes it read on")
	}
}

// finishEverything lets all that is on its way end well. What is left then was
// forgotten.
func (m *model) finishEverything() {
	m.calm = true
	for _, w := range m.writers {
		for _, r := range w.open {
			r.stored = m.now
		}
		m.rows = append(m.rows, w.open...)
		w.open = nil
	}
	for range 100 + 8*m.made {
		m.tick(30 * time.Second)
		m.step(true)
		for _, tell := range m.news {
			tell()
		}
		m.news = nil
		for _, f := range slices.Clone(m.flights) {
			if m.intents[f] == nil {
				m.intend()
			}
		}
		for len(m.intents) > 0 {
			m.finish(true, outbox.StateDelivered)
		}
		idle := len(m.flights)+len(m.news)+len(m.due) == 0
		if len(m.rows) == 0 && idle {
			return
		}
		if idle {
			for _, r := range m.rows {
				if r.State == outbox.NeedsAction {
					m.release(r, false)
				}
			}
		}
	}
	for _, r := range m.rows {
		m.t.Logf("forgotten: %s", describe(r))
	}
	for key, l := range m.queue().lines {
		m.t.Logf("line of key %d: state %d, head %x, %d followers, parked %v, passed %x, rewind %v", key, l.state, int64(l.head.seq), len(l.followers), l.parked, int64(l.passed.seq), l.rewind)
	}
	m.t.Fatalf("%d of %d are never sent", len(m.rows), m.made)
}
