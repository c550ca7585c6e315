package outbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// unknown leaves a delivery with an exception, since nobody knows what became of its
// request; with a name, it has claimed that effect.
func (d *dispatcher) unknown(id, key, destination, effect string) *outbox.Delivery {
	t := d.shop.t
	t.Helper()
	a := d.deliveryOf(id, key, destination)
	if effect == "" {
		d.intend(a)
	} else {
		stored, _, err := d.IntendClaiming(t.Context(), d.NextBatch(), d.leases(), []*outbox.Delivery{a}, []outbox.Claim{{Effect: effect, Key: "key of " + id}})
		if err != nil || stored.Size != 1 {
			t.Fatal(stored, err)
		}
		a.Claimed = true
	}
	lost := attempt(a, outbox.StateNeedsAction)
	lost.Kind, lost.Reason, lost.UnknownAt = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, "no answer", &a.AcceptedAt
	lost.Cause = outbox.Cause{Class: "UNKNOWN_OUTCOME"}
	d.finish(lost)
	a.Version, a.Requests = a.Version+1, 1
	return a
}

func (s *shop) mark(a *outbox.Delivery, of outbox.StepUnderWay) (outbox.Operated, error) {
	s.t.Helper()
	return s.MarkDelivered(s.t.Context(), clerk, outbox.MarkRequest{
		OperatorRequest: outbox.OperatorRequest{RequestID: fmt.Sprint(a.Seq, a.Version, of.Step), Delivery: deliveryID(a), ExpectedVersion: a.Version, Reason: "seen in their ledger"},
		Receipt:         outbox.Receipt{ExternalID: "INV-17", URL: "https://books.example/17", Fields: map[string]string{"number": "17"}},
	}, of)
}

func TestStore_MarkDelivered(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books", "stock")

	t.Run("EndsIt", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.unknown("e1", "order/1", "books", "")
		d.deliveryOf("e2", "order/1", "books") // waits behind it
		for range 2 {                          // a repeat gets the first answer
			done, err := s.mark(a, outbox.StepUnderWay{})
			if err != nil || done.State != outbox.StateDelivered || done.Version != 0 {
				t.Fatal(done, err)
			}
		}
		s.orderly()
		want := []string{"found DELIVERED 1 ayu seen in their ledger INV-17 https://books.example/17 17"}
		if diff := cmp.Diff(want, column[string](s, `SELECT concat_ws(' ', what, state, kind, actor, reason, detail->>'externalId', detail->>'url', detail->'fields'->>'number') FROM timeline WHERE what = 'found'`)); diff != "" {
			t.Errorf("the timeline (-want +got):\n%s", diff)
		}
		if got := one[string](s, `SELECT concat_ws(' ', sum(delivered), sum(skipped), sum(needs_action)) FROM tallies WHERE destination <> 0`); got != "1 0 0" {
			t.Errorf("delivered, skipped, needs action: %s", got)
		}
		if got := one[string](s, `SELECT status FROM exceptions`); got != outbox.Resolved {
			t.Errorf("the exception is %s", got)
		}
		if n := one[int](s, `SELECT count(*) FROM due`); n != 1 {
			t.Errorf("what waits behind it is not woken: %d due", n)
		}
		if n := one[int](s, `SELECT count(*) FROM effects`) + one[int](s, `SELECT count(*) FROM snapshots`); n != 0 {
			t.Errorf("a route that names neither effect nor version left %d", n)
		}
		var refusal *outbox.Refusal
		a.Version = 9
		if _, err := s.mark(a, outbox.StepUnderWay{}); !errors.As(err, &refusal) || !strings.Contains(refusal.Message, "is over") {
			t.Errorf("again: %v", err)
		}
	})

	t.Run("SettlesTheEffectAndTheSnapshot", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.unknown("e1", "order/1", "books", "invoice/1")
		waits := d.deliveryOf("e2", "order/2", "books")
		_, became, err := d.IntendClaiming(t.Context(), d.NextBatch(), d.leases(), []*outbox.Delivery{waits}, []outbox.Claim{{Effect: "invoice/1", Key: "k"}})
		if err != nil || became[waits.Position()].Won {
			t.Fatal(became, err)
		}
		version, err := outbox.VersionOf(int64(5))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.mark(a, outbox.StepUnderWay{Name: "invoice", Effect: "invoice/1", Snapshot: &outbox.Snapshot{OrderingKey: "order/1", Event: "e1", Version: version}}); err != nil {
			t.Fatal(err)
		}
		want := []string{"invoice/1 1 INV-17 17 till e1"}
		if diff := cmp.Diff(want, column[string](s, `SELECT concat_ws(' ', effect, revision, external_id, fields->>'number', source, event, lane, content, unknown_at, nullif(key, '')) FROM effects`)); diff != "" {
			t.Errorf("the ledger (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"order/1 1 5 e1"}, column[string](s, `SELECT concat_ws(' ', ordering_key, kind, number, event) FROM snapshots`)); diff != "" {
			t.Errorf("the snapshots (-want +got):\n%s", diff)
		}
		if n := one[int](s, `SELECT count(*) FROM due WHERE seq = $1`, waits.Seq); n != 1 || one[int](s, `SELECT count(*) FROM effect_waits`) != 0 {
			t.Errorf("who waited for the claim is not woken: %d due", n)
		}
	})

	t.Run("GoesOnWithTheNextStep", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.unknown("e1", "order/1", "books", "order/1")
		of := outbox.StepUnderWay{Name: "order", Effect: "order/1", More: true}
		if _, err := s.mark(a, outbox.StepUnderWay{Step: 1}); !errors.Is(err, outbox.ErrConflict) {
			t.Errorf("of another step: %v, want a conflict", err)
		}
		done, err := s.mark(a, of)
		if err != nil || done.State != outbox.StatePending || done.Version != a.Version+1 {
			t.Fatal(done, err)
		}
		s.orderly()
		if got := one[string](s, `SELECT concat_ws(' ', state, step, requests, attempts, unknown_at, receipts->'order'->>'externalId', receipts->'order'->'fields'->>'number') FROM deliveries`); got != "0 1 0 0 INV-17 17" {
			t.Errorf("the delivery is %s", got)
		}
		if got := one[string](s, `SELECT concat_ws(' ', revision, external_id, lane) FROM effects`); got != "1 INV-17" {
			t.Errorf("the ledger says %s", got)
		}
		if got := one[string](s, `SELECT concat_ws(' ', step, state, detail->>'step', detail->>'effect') FROM timeline WHERE what = 'found'`); got != "0 PENDING order order/1" {
			t.Errorf("the timeline says %s", got)
		}
		if n := one[int](s, `SELECT coalesce(sum(delivered), 0)::integer FROM tallies`); n != 0 {
			t.Errorf("%d count as delivered", n)
		}
		// Its claim may have been made under a name that its route does not give it any more.
		b := d.unknown("e3", "order/3", "books", "as it was called")
		if _, err := s.mark(b, outbox.StepUnderWay{Name: "order", Effect: "as it is called"}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"as it is called 1 f", "as it was called 0 t"}, column[string](s, `SELECT concat_ws(' ', effect, revision, unknown_at IS NOT NULL) FROM effects WHERE effect LIKE 'as%' AND lane IS NULL ORDER BY 1`)); diff != "" {
			t.Errorf("the ledger (-want +got):\n%s", diff)
		}
	})

	t.Run("WhatHasNotClaimedItIsInTheLedgerToo", func(t *testing.T) { // as after a restore
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.unknown("e1", "order/1", "books", "")
		if _, err := s.mark(a, outbox.StepUnderWay{Name: "invoice", Effect: "invoice/1"}); err != nil {
			t.Fatal(err)
		}
		if got := one[string](s, `SELECT concat_ws(' ', effect, revision, external_id, event) FROM effects`); got != "invoice/1 1 INV-17 e1" {
			t.Errorf("the ledger says %s", got)
		}
		d.unknown("e2", "order/2", "books", "invoice/2")
		b := d.unknown("e3", "order/3", "books", "")
		var refusal *outbox.Refusal
		if _, err := s.mark(b, outbox.StepUnderWay{Name: "invoice", Effect: "invoice/2"}); !errors.As(err, &refusal) || !strings.Contains(refusal.Message, "another delivery") {
			t.Errorf("another one's: %v, want a refusal", err)
		}
		if n := one[int](s, `SELECT count(*) FROM effects WHERE revision > 0`); n != 1 {
			t.Errorf("%d effects are there", n)
		}
	})

	t.Run("IsRefusedForWhatHasNotFailed", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.deliveryOf("e1", "order/1", "books")
		var refusal *outbox.Refusal
		if _, err := s.mark(a, outbox.StepUnderWay{}); !errors.As(err, &refusal) {
			t.Errorf("pending: %v", err)
		}
		d.intend(a)
		if _, err := s.mark(a, outbox.StepUnderWay{}); !errors.As(err, &refusal) || !strings.Contains(refusal.Message, "on the wire") {
			t.Errorf("on the wire: %v", err)
		}
		for name, r := range map[string]outbox.Receipt{
			"no name": {}, "two lines": {ExternalID: "a\nb"}, "long": {ExternalID: strings.Repeat("x", 501)}, "not UTF-8": {ExternalID: "\xff"},
			"long address": {ExternalID: "x", URL: strings.Repeat("x", 2001)}, "long field": {ExternalID: "x", Fields: map[string]string{"n": strings.Repeat("x", 201)}},
			"field without a name": {ExternalID: "x", Fields: map[string]string{"": "x"}},
		} {
			_, err := s.MarkDelivered(t.Context(), clerk, outbox.MarkRequest{OperatorRequest: request(a, name), Receipt: r}, outbox.StepUnderWay{})
			if !errors.As(err, &refusal) || refusal.Field == "" {
				t.Errorf("%s: %v, want a refusal of a field", name, err)
			}
		}
	})
}

func TestStore_SendAnyway(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	a := d.unknown("e1", "order/1", "books", "invoice/1")
	done, err := s.SendAnyway(t.Context(), clerk, request(a, "r1"))
	if err != nil || done.State != outbox.StatePending {
		t.Fatal(done, err)
	}
	s.orderly()
	if got := one[string](s, `SELECT concat_ws(' ', state, requests, attempts, revision, unknown_at) FROM deliveries`); got != "0 1 0 0" {
		t.Errorf("the delivery is %s: the doubt was to go, and the key to stay", got)
	}
	if got := one[string](s, `SELECT concat_ws(' ', what, state, actor, reason) FROM timeline WHERE what = 'resend'`); got != "resend PENDING ayu the SKU is known now" {
		t.Errorf("the timeline says %s", got)
	}
	again := d.open("books")[0]
	stored, became, err := d.IntendClaiming(t.Context(), d.NextBatch(), d.leases(), []*outbox.Delivery{again}, []outbox.Claim{{Effect: "invoice/1", Key: "key of e1"}})
	if err != nil || stored.Size != 1 || !became[again.Position()].Won {
		t.Errorf("its claim: %v, %+v, %v", stored, became, err)
	}
	b := d.deliveryOf("e2", "order/2", "books")
	d.finish(attempt(b, outbox.StateNeedsAction))
	b.Version++
	var refusal *outbox.Refusal
	if _, err := s.SendAnyway(t.Context(), clerk, request(b, "r2")); !errors.As(err, &refusal) || !strings.Contains(refusal.Message, "retry it") {
		t.Errorf("without a doubt: %v, want a refusal", err)
	}
}
