package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
	"raffsync/connectors/recipe"
	"raffsync/connectors/simulator"
	"raffsync/connectors/webhook"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

var kinds = connectors.Registry{"webhook": webhook.Factory, "recipe": recipe.Factory}

func parse(t *testing.T, endpoints []Endpoint, secrets bool) *config.File {
	t.Helper()
	text, err := Configuration(endpoints)
	if err != nil {
		t.Fatal(err)
	}
	file, err := config.Parse("demo.yaml", []byte(text), config.Options{Registry: kinds, AllowLoopback: true, Secrets: secrets, Samples: Samples()})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, warning := range file.Warnings {
		t.Errorf("warning: %v", warning)
	}
	return file
}

func TestConfiguration(t *testing.T) {
	var endpoints []Endpoint
	for i, e := range theThree {
		e.URL = fmt.Sprintf("http://127.0.0.1:4000%d/events", i)
		e.SecretFile = `/home/Dé "w" i & co/` + e.Name + ".secret"
		endpoints = append(endpoints, e)
	}
	t.Run("IsRight", func(t *testing.T) {
		c := parse(t, endpoints, false).Configuration
		if c.Tenant != Tenant || len(c.Sources) != 1 || c.Sources[0].Name != Source || len(c.Destinations) != 3 || len(c.Routes) != 3 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("IsTriedWithSamples", func(t *testing.T) {
		tried := parse(t, endpoints, false).Trials
		if len(tried.Samples) != 3 || len(tried.Unrouted)+len(tried.Unreached)+len(tried.LeftOut) > 0 || len(tried.LookUps) != 3 || tried.LookUps[0].Value != Missing {
			t.Errorf("%+v", tried)
		}
	})
	t.Run("Golden", func(t *testing.T) {
		text, err := Configuration(endpoints)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "configuration", text)
	})
	t.Run("NeedsEveryPlatform", func(t *testing.T) {
		if _, err := Configuration(endpoints[:2]); err == nil {
			t.Error("a platform is missing, and nothing was said")
		}
	})
}

// The destinations that the configuration describes, built as the broker builds
// them, send what the tills make to platforms that fail more than half the time.
// Resending with the same key until it is answered well makes one effect of each.
func TestConfiguration_DeliversToThePlatforms(t *testing.T) {
	p, err := NewPlatforms(PlatformsConfig{
		State: t.TempDir(), Logger: quiet,
		Faults: simulator.Faults{Seed: 3, Percent: 60, Down: -1, Hang: 50 * time.Millisecond, Slow: 10 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := runningOf(t, p)
	events := day(t, 20)
	var want struct {
		sync.Mutex
		delivered, missing int64
		kinds              map[raffsyncv1.OutcomeKind]int
	}
	want.kinds = map[raffsyncv1.OutcomeKind]int{}
	for _, c := range parse(t, r.endpoints, true).Configuration.Destinations {
		destination, err := kinds.New(c.Kind, connectors.Options{Name: c.Name, Settings: c.Settings, Secret: config.ResolveSecret, AllowLoopback: true})
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for i, event := range events {
			group.Go(func() {
				outcome, tried := deliver(t, destination, c.Name, i, event)
				if tried == nil {
					want.Lock()
					want.missing++
					want.Unlock()
					return
				}
				want.Lock()
				defer want.Unlock()
				for kind, n := range tried {
					want.kinds[kind] += n
				}
				if outcome.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED {
					want.delivered++
					return
				}
				t.Errorf("%s: %+v", c.Name, outcome)
			})
		}
		group.Wait()
	}
	effects, duplicates, refused := totals(t, r.Platforms)
	if effects != want.delivered || duplicates != 0 || refused != 0 || want.missing == 0 {
		t.Errorf("%d effects, %d duplicate, %d refused; delivered %d, %d miss an item", effects, duplicates, refused, want.delivered, want.missing)
	}
	for _, kind := range []raffsyncv1.OutcomeKind{
		raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED,
		raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME,
	} {
		if want.kinds[kind] == 0 {
			t.Errorf("no attempt came to %s: %v", kind, want.kinds)
		}
	}
}

// deliver sends the event until the platform has it or refuses it for good. Where an item
// is missing, nothing is tried.
func deliver(t *testing.T, to connectors.Destination, name string, i int, event *raffsyncv1.Event) (connectors.Outcome, map[raffsyncv1.OutcomeKind]int) {
	tried := map[raffsyncv1.OutcomeKind]int{}
	var plan any
	if planner, ok := to.(connectors.Planner); ok {
		var err error
		if plan, err = planner.Plan(connectors.StepConfig{Name: "record", Call: "record"}); err != nil {
			t.Error(err)
		}
	}
	request, err := to.Prepare(connectors.Step{
		Destination: name, Attempt: 1, Key: fmt.Sprintf("%064x", i), Plan: plan, Effect: event.Id,
		Lookup: func(_, sku string) (string, bool) { return sku, slices.Contains(Items(), sku) },
		Event: &connectors.Event{
			Tenant: Tenant, Source: Source, ID: event.Id, Type: event.Type,
			OrderingKey: event.OrderingKey, AcceptedAt: event.OccurredAt.AsTime(), Outlet: event.Outlet,
			ContentType: event.ContentType, Data: []byte(event.GetTextData()),
		},
	})
	var refusal *connectors.PrepareError
	if errors.As(err, &refusal) && len(refusal.Missing) == 1 && refusal.Missing[0].Value == Missing {
		return connectors.Outcome{}, nil
	}
	if err != nil {
		t.Error(err)
		return connectors.Outcome{}, tried
	}
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		outcome := to.Send(ctx, request)
		cancel()
		tried[outcome.Kind]++
		switch outcome.Kind {
		case raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION:
			return outcome, tried
		}
		if outcome.Reason == "" || strings.Contains(outcome.Reason, "whsec_") {
			t.Errorf("%+v", outcome)
		}
	}
	t.Error("two hundred attempts were not enough")
	return connectors.Outcome{}, tried
}
