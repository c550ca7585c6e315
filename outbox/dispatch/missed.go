package dispatch

import (
	"context"
	"fmt"
	"math"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
)

// mappingVersion is that of the mappings which look-ups are answered from. Where there
// are none, no change of them makes a difference.
func (d *Dispatcher) mappingVersion(tenant string) int64 {
	if d.config.Mappings == nil {
		return math.MaxInt64
	}
	return d.config.Mappings.Version(tenant)
}

// lookUps answers the look-ups of one request, and keeps what was found: what a mapping
// entry turns out to have been wrong for.
type lookUps struct {
	mappings    Mappings
	tenant      string
	destination int32
	used        []outbox.LookedUp
	noted       map[[2]string]bool // by table and value
}

// lookUps are those of one destination.
func (d *Dispatcher) lookUps(tenant string, destination int32) *lookUps {
	return &lookUps{mappings: d.config.Mappings, tenant: tenant, destination: destination}
}

// function is what destinations ask; nil where there are no mappings.
func (l *lookUps) function() func(table, value string) (string, bool) {
	if l.mappings == nil {
		return nil
	}
	return func(table, value string) (string, bool) {
		e, ok := l.mappings.Lookup(l.tenant, l.destination, table, value)
		if ok {
			l.note(outbox.LookedUp{Table: table, Value: value, MappingEntry: e})
		}
		return e.Target, ok
	}
}

// note keeps what was found once, however often it is asked for.
func (l *lookUps) note(u outbox.LookedUp) {
	if l.noted == nil {
		l.noted = make(map[[2]string]bool)
	}
	key := [2]string{u.Table, u.Value}
	if !l.noted[key] && len(l.used) < outbox.MaxLookedUp {
		l.noted[key] = true
		l.used = append(l.used, u)
	}
}

// missed is the outcome of a Prepare whose look-ups found nothing: that of the first,
// which stands for all of them in the timeline.
func missed(missing []connectors.Miss) *connectors.Outcome {
	first := missing[0]
	reason := lookUp(first).String()
	if more := len(missing) - 1; more > 0 {
		reason = fmt.Sprintf("%s; and %d more", reason, more)
	}
	return &connectors.Outcome{Kind: first.Kind(), Rule: outbox.RuleLookUp, Code: first.Value, Field: first.Table, Reason: reason}
}

func lookUp(m connectors.Miss) outbox.LookUp {
	return outbox.LookUp{Class: outbox.Class(m.Kind()), Table: m.Table, Value: m.Value, Path: m.Path}
}

// needsMappings hangs a delivery on each of the look-ups that found nothing.
func needsMappings(t outbox.Transition, a *Attempt) outbox.Transition {
	t.To, t.Spent = outbox.StateNeedsAction, t.Attempts
	t.Missed = &outbox.Missed{Version: a.Mappings}
	for _, m := range a.Missing {
		t.Missed.LookUps = append(t.Missed.LookUps, lookUp(m))
	}
	return t
}

// outdated tells whether a delivery was to hang on look-ups and does not, since the
// mappings have changed meanwhile.
func outdated(f *flight, stored map[outbox.Position]bool) bool {
	return len(f.attempt.Missing) > 0 && !stored[f.delivery.Position()]
}

const (
	// mappingsWithin is how long a delivery waits for mappings that this process has not
	// heard of yet. They may never come, where their change was taken back.
	mappingsWithin = 2 * time.Second
	mappingsPoll   = 10 * time.Millisecond
)

// prepareAgain has the outdated ones read and prepared anew, as soon as newer mappings
// are known here. Nothing of it is stored: they are as they were, and spend no attempt.
func (n *incarnation) prepareAgain(ctx context.Context, flights []*flight, stored map[outbox.Position]bool) {
	for _, f := range flights {
		if outdated(f, stored) {
			n.waiting.Go(func() {
				n.awaitMappings(ctx, f.delivery.Tenant, f.attempt.Mappings)
				n.news.put(func(s *scheduler) { s.settled(f, outbox.StatePending, false) })
			})
		}
	}
}

// awaitMappings waits until mappings after a version are known here.
func (n *incarnation) awaitMappings(ctx context.Context, tenant string, version int64) {
	ctx, cancel := context.WithTimeout(ctx, mappingsWithin)
	defer cancel()
	tick := time.NewTicker(mappingsPoll)
	defer tick.Stop()
	for n.mappingVersion(tenant) <= version {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// LookAtReleases has what resolved exceptions hold set free, soon: there may be such.
func (d *Dispatcher) LookAtReleases() {
	select {
	case d.released <- struct{}{}:
	default:
	}
}

// releaseAll sets free what resolved exceptions hold in the lanes that are held here,
// when it is told to look, and every so often.
func (n *incarnation) releaseAll(ctx context.Context) error {
	tick := time.NewTicker(n.config.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.released:
		case <-tick.C:
		}
		freed, err := n.replica.ReleaseAll(ctx, n.held.lanes())
		switch {
		case err != nil && ctx.Err() == nil:
			n.config.Log.WarnContext(ctx, "what was released is set free later", "error", err)
		case freed > 0:
			n.config.Log.InfoContext(ctx, "what was released is set free", "deliveries", freed)
		}
	}
}
