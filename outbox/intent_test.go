package outbox_test

import (
	"testing"

	"raffsync/outbox"
)

func TestReplica_Intend(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books")

	t.Run("StoresOneRowABatch", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a, b := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/2", "books")
		batch := d.intend(a, b)
		if !batch.Announces(a) || !batch.Announces(b) || batch.Size != 2 {
			t.Errorf("batch %v, want both", batch)
		}
		if n := one[int](s, `SELECT count(*) FROM intents WHERE cardinality(seqs) = 2 AND attempts = '{1,1}' AND at = $1`, batch.At); n != 1 {
			t.Error("the row is not as told")
		}
	})

	t.Run("LeavesOutWhatHasChanged", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a, b, c := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/2", "books"), d.deliveryOf("c", "order/3", "books")
		s.changed(a)
		s.skip(c, "request 1")
		batch := d.intend(a, b, c)
		if batch.Size != 1 || batch.Announces(a) || !batch.Announces(b) || batch.Announces(c) {
			t.Errorf("batch %v, want the unchanged one", batch)
		}
	})

	t.Run("StoresNothingWhereAllHaveChanged", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.deliveryOf("a", "order/1", "books")
		s.skip(a, "request 1")
		if batch := d.intend(a); batch.Size != 0 || batch.Announces(a) {
			t.Errorf("batch %v, want none", batch)
		}
		if n := one[int](s, `SELECT count(*) FROM intents`); n != 0 {
			t.Errorf("%d rows of intents", n)
		}
	})

	// The answer was lost, and an operator could not change anything meanwhile.
	t.Run("ToldAgainAnswersAsTheFirstTime", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a, b := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/2", "books")
		s.skip(b, "request 1")
		number := d.NextBatch()
		deliveries := []*outbox.Delivery{a, b}
		first, err := d.Intend(t.Context(), number, d.leasesOf(deliveries...), deliveries)
		if err != nil {
			t.Fatal(err)
		}
		again, err := d.Intend(t.Context(), number, d.leasesOf(deliveries...), deliveries)
		if err != nil {
			t.Fatal(err)
		}
		if !again.At.Equal(first.At) || again.Size != 1 || !again.Announces(a) || again.Announces(b) {
			t.Errorf("the second answer is %+v, the first %+v", again, first)
		}
		if n := one[int](s, `SELECT count(*) FROM intents`); n != 1 {
			t.Errorf("%d rows of intents, want 1", n)
		}
	})
}

func TestReplica_Prune(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	a, b := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/2", "books")
	d.intend(a)
	d.intend(b)
	if err := d.Replica.Prune(t.Context(), []int64{1}); err != nil {
		t.Fatal(err)
	}
	if batch := one[int64](s, `SELECT batch FROM intents`); batch != 2 {
		t.Errorf("batch %d is left, want 2", batch)
	}
}

func TestReplica_Orphans(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	dead := s.dispatcher()
	sent, answered, again := dead.deliveryOf("sent", "order/1", "books"), dead.deliveryOf("answered", "order/2", "books"), dead.deliveryOf("again", "order/3", "books")
	batch := dead.intend(sent, answered, again)
	dead.finish(attempt(answered, outbox.StateDelivered))
	dead.finish(attempt(again, outbox.StateWaiting)) // its first request is answered

	s.expire(dead)
	heir := s.join()
	heir.spread()
	var lanes []int16
	for lane := range heir.lanes {
		lanes = append(lanes, lane)
	}
	orphans, _, err := heir.Orphans(t.Context(), lanes, outbox.IntentRow{})
	if err != nil {
		t.Fatal(err)
	}
	if len(orphans) != 1 || orphans[0].Seq != sent.Seq || !orphans[0].IntendedAt.Equal(batch.At) || orphans[0].Attempt() != 1 {
		t.Fatalf("orphans %+v, want the one without an outcome", orphans)
	}
	if other, _, err := heir.Orphans(t.Context(), []int16{sent.Lane ^ 1}, outbox.IntentRow{}); err != nil || len(other) != 0 {
		t.Errorf("in another lane there are %v, %v", other, err)
	}
	// An own intent is no orphan: its request is on the wire.
	heir.intend(sent)
	if left, _, err := heir.Orphans(t.Context(), lanes, outbox.IntentRow{}); err != nil || len(left) != 1 {
		t.Errorf("with an own intent beside it there are %v, %v", left, err)
	}
	heir.finish(attempt(&orphans[0].Delivery, outbox.StateWaiting))
	if left, _, err := heir.Orphans(t.Context(), lanes, outbox.IntentRow{}); err != nil || len(left) != 0 {
		t.Errorf("settled, there are still %v, %v", left, err)
	}
}
