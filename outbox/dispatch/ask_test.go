package dispatch

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestDecide_WhereThePlatformCanBeAsked(t *testing.T) {
	t.Parallel()
	const asked = 90 * time.Second
	retry := outbox.RetryConfig{Initial: time.Second, Factor: 2, Cap: time.Minute, Attempts: 5, Age: time.Hour}
	unsure := accepted.Add(-time.Minute) // when an earlier request was made that proves nothing
	for _, c := range []struct {
		name     string
		attempts int32
		age      time.Duration
		unknown  *time.Time
		question bool
		unsent   bool
		finding  connectors.Finding
		last     raffsyncv1.OutcomeKind
		outcome  connectors.Outcome
		traits   connectors.Traits

		to      string
		spent   int32
		delay   time.Duration
		class   string
		settled bool // nothing may have had an effect any more
	}{
		{name: "NoAnswer", outcome: connectors.Outcome{Kind: kindUnknown}, to: outbox.StateWaiting, spent: 1, delay: 12 * time.Second},
		{name: "NoAnswerToTheLastAttempt", attempts: 4, outcome: connectors.Outcome{Kind: kindUnknown}, to: outbox.StateWaiting, spent: 5, delay: 12 * time.Second},
		{name: "NoAnswerAtTheEndOfItsTime", age: time.Hour, outcome: connectors.Outcome{Kind: kindUnknown}, to: outbox.StateWaiting, spent: 1, delay: 12 * time.Second},
		{name: "NoAnswerPastTheWindow", unknown: &unsure, traits: connectors.Traits{Idempotent: true, DeduplicationWindow: time.Minute}, outcome: connectors.Outcome{Kind: kindUnknown}, to: outbox.StateWaiting, spent: 1, delay: 12 * time.Second},
		{name: "AnswerThatProvesNothing", outcome: connectors.Outcome{Kind: kindTransient, Status: 503}, to: outbox.StateWaiting, spent: 1, delay: 12 * time.Second},
		{name: "AnswerThatProvesNothingAsksForMore", outcome: connectors.Outcome{Kind: kindTransient, Status: 503, RetryAfter: asked}, to: outbox.StateWaiting, spent: 1, delay: asked},
		{name: "NothingWasSentAfterAll", outcome: connectors.Outcome{Kind: kindTransient}, to: outbox.StateWaiting, spent: 1, delay: 500 * time.Millisecond, settled: true},

		{name: "Found", attempts: 5, age: 2 * time.Hour, unknown: &unsure, question: true, finding: connectors.Found, outcome: connectors.Outcome{Kind: kindDelivered}, to: outbox.StateDelivered, spent: 5},
		{name: "Absent", attempts: 1, unknown: &unsure, question: true, finding: connectors.Absent, to: outbox.StateWaiting, spent: 1, settled: true},
		{name: "AbsentAfterTheLastAttempt", attempts: 5, unknown: &unsure, question: true, finding: connectors.Absent, to: outbox.StateNeedsAction, spent: 5, class: "RETRIES_EXHAUSTED", settled: true},
		{name: "AbsentAfterItsTime", attempts: 1, age: 61 * time.Minute, unknown: &unsure, question: true, finding: connectors.Absent, to: outbox.StateNeedsAction, spent: 1, class: "RETRIES_EXHAUSTED", settled: true},
		{name: "CannotTell", attempts: 1, unknown: &unsure, question: true, outcome: connectors.Outcome{Kind: kindTransient, Status: 503}, to: outbox.StateWaiting, spent: 2, delay: time.Second},
		{name: "CannotTellForAWhile", attempts: 1, unknown: &unsure, question: true, outcome: connectors.Outcome{Kind: kindTransient, RetryAfter: asked}, to: outbox.StateWaiting, spent: 2, delay: asked},
		{name: "CannotTellForTheLastTime", attempts: 4, unknown: &unsure, question: true, outcome: connectors.Outcome{Kind: kindTransient}, to: outbox.StateNeedsAction, spent: 5, class: "UNKNOWN_OUTCOME"},
		{name: "CannotTellAtTheEndOfItsTime", age: time.Hour, unknown: &unsure, question: true, outcome: connectors.Outcome{Kind: kindTransient}, to: outbox.StateNeedsAction, spent: 1, class: "UNKNOWN_OUTCOME"},
		{name: "AskedTooOften", attempts: 4, unknown: &unsure, question: true, outcome: connectors.Outcome{Kind: kindRateLimited, RetryAfter: asked}, to: outbox.StateWaiting, spent: 4, delay: asked},
		{name: "TheTokenEnded", attempts: 4, unknown: &unsure, question: true, outcome: connectors.Outcome{Kind: kindAuthExpired}, to: outbox.StateWaiting, spent: 4},
		{name: "TheTokenEndedAgain", last: kindAuthExpired, unknown: &unsure, question: true, outcome: connectors.Outcome{Kind: kindAuthExpired}, to: outbox.StateWaiting},
		{name: "NobodyMayAsk", unknown: &unsure, question: true, outcome: connectors.Outcome{Kind: kindAuthRevoked}, to: outbox.StateWaiting},
		{name: "TheQuestionPanics", unknown: &unsure, question: true, outcome: connectors.Outcome{Kind: kindPoison}, to: outbox.StateNeedsAction, spent: 1, class: "POISON"},
		{name: "TooEarlyToAsk", attempts: 5, age: 2 * time.Hour, unknown: &unsure, question: true, unsent: true, outcome: connectors.Outcome{Kind: kindUnknown, RetryAfter: 3 * time.Second}, to: outbox.StateWaiting, spent: 5, delay: 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := accepted.Add(c.age)
			d := &outbox.Delivery{AcceptedAt: accepted, TriedAt: tried(now, c.age), Attempts: c.attempts, UnknownAt: c.unknown, Last: c.last}
			a := Attempt{Sent: !c.unsent, Asked: c.question, Finding: c.finding, StartedAt: now, Outcome: c.outcome}
			got := Decide(d, a, Policy{Retry: retry, Traits: c.traits, Asks: true, Over: 12 * time.Second}, now, 0.5)
			type essence struct {
				To      string
				Spent   int32
				Delay   time.Duration
				Class   string
				Settled bool
			}
			want := essence{c.to, c.spent, c.delay, c.class, c.settled}
			if diff := cmp.Diff(want, essence{got.To, got.Spent, got.Delay, got.Cause.Class, got.UnknownAt == nil}); diff != "" {
				t.Errorf("transition (-want +got):\n%s", diff)
			}
			if got.Detail.Asked != c.question {
				t.Errorf("the timeline is told that it asked: %v", got.Detail.Asked)
			}
		})
	}
}

// The key may change only where every earlier request is proven to have had no effect.
func TestDecide_WhatProvesThatThereWasNoEffect(t *testing.T) {
	t.Parallel()
	retry := outbox.DefaultRetry
	earlier := accepted.Add(-time.Minute)
	for kind := range raffsyncv1.OutcomeKind_name {
		kind := raffsyncv1.OutcomeKind(kind)
		for _, status := range []int{0, 200, 409, 503} {
			o := connectors.Outcome{Kind: kind, Status: status}
			var proves bool
			switch kind {
			case kindUnknown, kindPoison, raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE, raffsyncv1.OutcomeKind_OUTCOME_KIND_KEY_MISUSE, raffsyncv1.OutcomeKind_OUTCOME_KIND_PARTIAL:
			case kindTransient, kindUnclassified:
				proves = status == 0
			default:
				proves = true
			}
			first := Decide(&outbox.Delivery{AcceptedAt: accepted}, Attempt{Sent: true, StartedAt: accepted, Outcome: o}, Policy{Retry: retry}, accepted, 0)
			if (first.UnknownAt == nil) != proves {
				t.Errorf("%s with status %d: unknown since %v", kind, status, first.UnknownAt)
			}
			unsent := Decide(&outbox.Delivery{AcceptedAt: accepted}, Attempt{Outcome: o}, Policy{Retry: retry}, accepted, 0)
			if unsent.UnknownAt != nil {
				t.Errorf("%s of nothing that was sent: unknown since %v", kind, unsent.UnknownAt)
			}
			later := Decide(&outbox.Delivery{AcceptedAt: accepted, UnknownAt: &earlier}, Attempt{Sent: true, StartedAt: accepted, Outcome: o}, Policy{Retry: retry}, accepted, 0)
			if later.UnknownAt == nil || !later.UnknownAt.Equal(earlier) {
				t.Errorf("%s after one of unknown outcome: unknown since %v", kind, later.UnknownAt)
			}
		}
	}
}
