package dispatch

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"pgregory.net/rapid"

	"raffsync/connectors"
	"raffsync/outbox"
)

// model is a world for the scheduler: the table as Postgres would show it, writers
// that commit late, operators, time. It knows of every delivery what must hold.
type model struct {
	t       *rapid.T
	s       *scheduler
	now     time.Time
	rows    []*row // open and committed
	due     []dueRow
	writers []*modelWriter
	made    int
	calm    bool

	flights []*flight // intended, or about to be
	intents map[*flight]*row
	news    []func() // stored, and not yet told to the scheduler
}

type row struct {
	outbox.Delivery
	dueAt         time.Time
	begun, stored time.Time // of the transaction that made it
	writer        *modelWriter
	passedOver    bool // it was held while its route let others pass
}

type dueRow struct {
	at   time.Time
	seq  outbox.Seq
	key  int64
	dest int32
}

type modelWriter struct {
	number   int64
	counter  int64
	open     []*row // of its transaction
	gone     bool   // its session
	closed   bool   // and known to be
	unlisted bool
}

const modelDestination = 7

type nothing struct{}

func (nothing) Prepare(connectors.Step) (connectors.Request, error)             { return nil, nil }
func (nothing) Send(context.Context, connectors.Request) (o connectors.Outcome) { return o }
func (nothing) Traits() connectors.Traits                                       { return connectors.Traits{} }

func newModel(t *rapid.T) *model {
	m := &model{t: t, now: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), intents: make(map[*flight]*row)}
	n := &incarnation{
		Dispatcher: &Dispatcher{lanes: make(map[int16]bool)},
		news:       newInbox[func(*scheduler)](), launches: newInbox[*flight](), breakers: newInbox[outbox.BreakerRow](),
	}
	m.s = newScheduler(n)
	m.s.table, m.s.rangeRows = m, 3
	m.s.adopt(m.plan(false))
	m.s.targets[modelDestination].share = unlimited(4)
	m.s.take([]outbox.Lease{{Lane: 3, Epoch: 1}})
	m.openWriter()
	return m
}

func (m *model) plan(blockPasses bool) *Plan {
	return &Plan{
		Destinations: map[int32]*Destination{modelDestination: {
			ID: modelDestination, Connector: nothing{}, Concurrency: 4,
			Breaker: outbox.BreakerConfig{Window: time.Hour, MinRequests: 1 << 20, FailureRatio: 1, OpenFor: time.Hour, Probes: 1},
		}},
		Routes: map[RouteKey]Route{{Name: "block"}: {Pass: blockPasses}, {Name: "pass"}: {Pass: true}},
	}
}

func (m *model) queue() *queue {
	return m.s.queues[outbox.LaneDestination{Lane: 3, Destination: modelDestination}]
}

func (m *model) tick(d time.Duration) { m.now = m.now.Add(d) }

// What the table says.

func (m *model) Writers(context.Context) (listed []outbox.WriterState, err error) {
	for _, w := range m.writers {
		if !w.unlisted {
			listed = append(listed, outbox.WriterState{Writer: w.number, Closed: w.closed})
		}
	}
	return listed, nil
}

func (m *model) read(r *row) outbox.Delivery {
	d := r.Delivery
	wakes := slices.ContainsFunc(m.due, func(w dueRow) bool { return w.seq == r.Seq && w.at.Equal(r.dueAt) })
	if d.State == outbox.Retry && (!r.dueAt.After(m.now) || !wakes) {
		d.State = outbox.Pending
	}
	return d
}

func (m *model) Read(_ context.Context, known []outbox.WriterState, ranges []outbox.Range) ([][]outbox.Delivery, bool, error) {
	listed, _ := m.Writers(context.Background())
	for _, w := range listed {
		if !slices.ContainsFunc(known, func(k outbox.WriterState) bool { return k.Writer == w.Writer }) {
			return nil, false, nil
		}
	}
	found := make([][]outbox.Delivery, len(ranges))
	bySeq := slices.SortedFunc(slices.Values(m.rows), func(a, b *row) int { return cmp.Compare(a.Seq, b.Seq) })
	for i, g := range ranges {
		for _, r := range bySeq {
			if r.Seq.Writer() == g.Writer && r.Seq > g.After && len(found[i]) < g.Limit {
				found[i] = append(found[i], m.read(r))
			}
		}
	}
	return found, true, nil
}

func (m *model) ReadLines(_ context.Context, lines []outbox.Line, limit int) ([][]outbox.Delivery, error) {
	found := make([][]outbox.Delivery, len(lines))
	byTime := slices.SortedFunc(slices.Values(m.rows), func(a, b *row) int {
		return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), cmp.Compare(a.Seq, b.Seq))
	})
	for i, l := range lines {
		after := position{l.AfterAt.UnixMicro(), l.After}
		for _, r := range byTime {
			if r.KeyHash == l.KeyHash && after.before(positionOf(&r.Delivery)) && len(found[i]) < limit {
				found[i] = append(found[i], m.read(r))
			}
		}
	}
	return found, nil
}

var errAnswerLost = errors.New("the connection broke")

func (m *model) TakeDue(_ context.Context, _ map[int16]outbox.Lease, _ []outbox.LaneDestination, limit int) ([]outbox.Due, error) {
	slices.SortFunc(m.due, func(a, b dueRow) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq)) })
	n := 0
	for n < len(m.due) && n < limit && !m.due[n].at.After(m.now) {
		n++
	}
	taken := m.due[:n:n]
	m.due = m.due[n:]
	var due []outbox.Due
	for _, w := range taken {
		d := outbox.Due{Lane: 3, Destination: modelDestination, Seq: w.seq, KeyHash: w.key}
		if r := m.find(w.seq); r != nil {
			if r.State != outbox.Pending && !(r.State == outbox.Retry && r.dueAt.Equal(w.at)) {
				continue
			}
			delivery := r.Delivery
			delivery.State = outbox.Pending
			d.Delivery = &delivery
		}
		due = append(due, d)
	}
	// The order of an UPDATE's rows is not promised.
	if m.flip("shuffle what is due") {
		slices.Reverse(due)
	}
	if n > 0 && m.flip("lose the answer") && m.flip("really") {
		return nil, errAnswerLost
	}
	return due, nil
}

func (m *model) find(seq outbox.Seq) *row {
	for _, r := range m.rows {
		if r.Seq == seq {
			return r
		}
	}
	return nil
}

// flip is false once everything is to end well.
func (m *model) flip(label string) bool { return !m.calm && rapid.Bool().Draw(m.t, label) }

func (m *model) pick(label string, n int) int {
	if m.calm {
		return 0
	}
	return rapid.IntRange(0, n-1).Draw(m.t, label)
}
