package dispatch

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestDecide_Steps(t *testing.T) {
	const kindDuplicate = raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	steps := []Step{{Name: "order"}, {Name: "invoice"}}
	there := &outbox.Effect{Revision: 1, Receipt: outbox.Receipt{ExternalID: "SO-1"}}
	inherited := now.Add(-2 * time.Second)
	idempotent := connectors.Traits{Idempotent: true}
	type essence struct {
		To, Class       string
		Done, Effect    string
		Existing        bool
		Content         string
		Delay           time.Duration
		Spent           int32
		Unknown, Doubts bool
	}
	sent := Attempt{Sent: true, StartedAt: now, Outcome: connectors.Outcome{Kind: kindDelivered, ExternalID: "SO-1"}}
	withEffect := func(a Attempt, e AttemptEffect) Attempt {
		a.Effect = &e
		return a
	}
	for _, c := range []struct {
		name    string
		step    int16
		steps   []Step
		attempt Attempt
		policy  Policy
		want    essence
	}{
		{name: "NoSteps", attempt: sent, want: essence{To: "DELIVERED", Spent: 1}},
		{name: "OneOfTwo", steps: steps, attempt: sent, want: essence{To: "PENDING", Done: "order", Spent: 1}},
		{name: "TheLast", step: 1, steps: steps, attempt: sent, want: essence{To: "DELIVERED", Done: "invoice", Spent: 1}},
		{name: "PastTheLast", step: 2, steps: steps, attempt: sent, want: essence{To: "DELIVERED", Spent: 1}},
		{name: "WithAnEffect", steps: steps, attempt: withEffect(sent, AttemptEffect{Name: "order/1", Content: []byte("c")}), want: essence{To: "PENDING", Done: "order", Effect: "order/1", Content: "c", Spent: 1}},
		{
			name: "FoundByAsking", steps: steps, policy: Policy{Asks: true},
			attempt: withEffect(Attempt{Sent: true, Asked: true, Finding: connectors.Found, Outcome: connectors.Outcome{Kind: kindDelivered}}, AttemptEffect{Name: "order/1", Content: []byte("c")}),
			want:    essence{To: "PENDING", Done: "order", Effect: "order/1"},
		},
		{name: "ThereAlready", steps: steps[:1], attempt: withEffect(Attempt{Outcome: connectors.Outcome{Kind: kindDelivered}}, AttemptEffect{Name: "order/1", Existing: there}), want: essence{To: "DELIVERED", Done: "order", Existing: true}},
		{name: "ThereAlreadyAndMoreToDo", steps: steps, attempt: withEffect(Attempt{Outcome: connectors.Outcome{Kind: kindDelivered}}, AttemptEffect{Name: "order/1", Existing: there}), want: essence{To: "PENDING", Done: "order", Existing: true}},
		{name: "ThereAlreadyForAPerson", steps: steps, attempt: withEffect(Attempt{Outcome: connectors.Outcome{Kind: kindDuplicate}}, AttemptEffect{Name: "order/1", Existing: there}), want: essence{To: "NEEDS_ACTION", Class: "EFFECT_EXISTS"}},
		{name: "InheritedAndAsks", steps: steps, policy: Policy{Asks: true, Over: 5 * time.Second}, attempt: withEffect(Attempt{Outcome: connectors.Outcome{Kind: kindUnknown}}, AttemptEffect{Name: "order/1", InheritedAt: &inherited}), want: essence{To: "WAITING", Delay: 3 * time.Second, Unknown: true, Doubts: true}},
		{name: "InheritedAndAsksByEvent", steps: steps, policy: Policy{Asks: true, Traits: connectors.Traits{AsksByEvent: true}}, attempt: withEffect(Attempt{Outcome: connectors.Outcome{Kind: kindUnknown}}, AttemptEffect{Name: "order/1", InheritedAt: &inherited}), want: essence{To: "NEEDS_ACTION", Class: "UNKNOWN_OUTCOME", Unknown: true, Doubts: true}},
		{name: "InheritedAndIdempotent", steps: steps, policy: Policy{Traits: idempotent}, attempt: withEffect(Attempt{Outcome: connectors.Outcome{Kind: kindUnknown}}, AttemptEffect{Name: "order/1", InheritedAt: &inherited}), want: essence{To: "WAITING", Unknown: true, Doubts: true}},
		{name: "InheritedPastTheWindow", steps: steps, policy: Policy{Traits: connectors.Traits{Idempotent: true, DeduplicationWindow: time.Second}}, attempt: withEffect(Attempt{Outcome: connectors.Outcome{Kind: kindUnknown}}, AttemptEffect{Name: "order/1", InheritedAt: &inherited}), want: essence{To: "NEEDS_ACTION", Class: "UNKNOWN_OUTCOME", Unknown: true, Doubts: true}},
		{name: "Inherited", steps: steps, attempt: withEffect(Attempt{Outcome: connectors.Outcome{Kind: kindUnknown}}, AttemptEffect{Name: "order/1", InheritedAt: &inherited}), want: essence{To: "NEEDS_ACTION", Class: "UNKNOWN_OUTCOME", Unknown: true, Doubts: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.policy.Steps = c.steps
			c.policy.Retry = outbox.DefaultRetry
			d := &outbox.Delivery{Step: c.step}
			got := Decide(d, c.attempt, c.policy, now, 0.5)
			is := essence{To: got.To, Class: got.Cause.Class, Delay: got.Delay, Spent: got.Spent, Unknown: got.UnknownAt != nil, Doubts: got.Inherited}
			if got.Done != nil {
				is.Done, is.Existing = got.Done.Name, got.Done.Existing
			}
			if got.Effect != nil {
				is.Effect, is.Content = got.Effect.Name, string(got.Effect.Content)
			}
			if diff := cmp.Diff(c.want, is); diff != "" {
				t.Errorf("transition (-want +got):\n%s", diff)
			}
			if got.Done != nil && got.Detail.Step != got.Done.Name {
				t.Errorf("the timeline names step %q", got.Detail.Step)
			}
		})
	}
}
