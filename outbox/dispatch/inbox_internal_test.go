package dispatch

import "testing"

func signalled[T any](b *inbox[T]) bool {
	select {
	case <-b.signal:
		return true
	default:
		return false
	}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	b := newInbox[int]()
	b.lay(1, 2)
	if signalled(b) {
		t.Error("a signal for what was only laid there")
	}
	if b.remind(); !signalled(b) {
		t.Error("no signal for what is there")
	}
	if got := b.take(1); len(got) != 1 || !signalled(b) {
		t.Errorf("%v is taken of two, and a signal is left for the other one", got)
	}
	b.take(1)
	if b.remind(); signalled(b) {
		t.Error("a signal for nothing")
	}
}

// A landing is heard of at once; while intents are being stored, once so many have gathered
// that others may be stored beside them; and while that is so too, not before it is over.
func TestLand_WakesTheScheduler(t *testing.T) {
	t.Parallel()
	n := &incarnation{news: newInbox[func(*scheduler)](), outcomes: newInbox[*flight]()}
	if n.land(&flight{}); !signalled(n.news) {
		t.Error("nothing is being stored, and nobody hears of a landing")
	}
	n.news.take(1)
	n.intending.Store(1)
	for i := range besideAnother {
		if n.land(&flight{}); signalled(n.news) != (i == besideAnother-1) {
			t.Fatalf("beside one batch, the scheduler hears of %d landings, or of fewer than %d", i+1, besideAnother)
		}
	}
	n.intending.Store(intenders)
	if n.land(&flight{}); signalled(n.news) {
		t.Error("the scheduler is woken while nothing more can be intended")
	}
	if heard, stored := len(n.news.take(999)), len(n.outcomes.take(999)); heard != besideAnother+1 || stored != besideAnother+2 {
		t.Errorf("%d landings are told, and %d outcomes handed on, of %d", heard, stored, besideAnother+2)
	}
}

// What landed while intents were being stored, and woke nobody, is heard of after that; so is
// what was prepared meanwhile.
func TestIntendAll_RemindsOfWhatGathered(t *testing.T) {
	t.Parallel()
	n := &incarnation{news: newInbox[func(*scheduler)](), requests: newInbox[*flight]()}
	n.requests.put(&flight{})
	signalled(n.requests)
	if got := n.beginIntents(); len(got) != 1 {
		t.Fatalf("%d are taken of one, with nothing under way", len(got))
	}
	n.news.lay(func(*scheduler) {})
	for range besideAnother - 1 {
		n.requests.put(&flight{})
	}
	if got := n.beginIntents(); len(got) != 0 {
		t.Fatalf("%d go beside another batch, fewer than %d", len(got), besideAnother)
	}
	signalled(n.requests)
	n.endIntents()
	if !signalled(n.news) || !signalled(n.requests) {
		t.Error("nobody is reminded of what gathered")
	}
	if got := n.beginIntents(); len(got) != besideAnother-1 {
		t.Errorf("%d are taken of %d, with nothing under way any more", len(got), besideAnother-1)
	}
	for range besideAnother {
		n.requests.put(&flight{})
	}
	if got := n.beginIntents(); len(got) != besideAnother {
		t.Errorf("%d of %d go beside another batch", len(got), besideAnother)
	}
	n.endIntents()
	n.endIntents()
	if n.intending.Load() != 0 {
		t.Error("it still seems to store intents")
	}
}
