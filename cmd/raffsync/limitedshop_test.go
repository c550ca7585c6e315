package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"raffsync/broker"
	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/hooks"
	"raffsync/connectors/recipe"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	"raffsync/outbox/outboxtest"
)

// limitedShop is a shop with all of them, on two replicas of the dispatcher.
type limitedShop struct {
	*testing.T
	store    *outbox.Store
	dsn      string
	applied  outbox.Applied
	wires    map[string]*onWire
	declared map[string]outbox.DestinationConfig
}

// newLimitedShop writes the configuration, with more in place of a text, and connects what
// wants it. Wires are by name.
func newLimitedShop(t *testing.T, all []limited, change func(name string, w *onWire, file string) string) *limitedShop {
	t.Setenv("SECRET", receiverSecret)
	shop := &limitedShop{T: t, wires: make(map[string]*onWire), declared: make(map[string]outbox.DestinationConfig)}
	destinations, routes, notify, server := "", "", "", ""
	at := make(map[string]string)
	for _, l := range all {
		w := &onWire{hold: 30 * time.Millisecond}
		file := change(l.name, w, l.file)
		url := l.serve(t, w)
		shop.wires[l.name], at[l.name] = w, url
		switch {
		case strings.HasPrefix(l.name, "chat:"):
			t.Setenv("CHAT_URL", url)
			notify += `, "env:CHAT_URL"`
		case strings.HasPrefix(l.name, "mailto:"):
			server = fmt.Sprintf("mail: {server: %q, from: sync@kopi.example}\n", url)
			notify += fmt.Sprintf(", %q", l.name)
		default:
			destinations += fmt.Sprintf("  %s: %s\n", l.name, strings.ReplaceAll(file, "URL", url))
			if l.route == "webhook" {
				routes += fmt.Sprintf("  %s: {to: %s}\n", l.name, l.name)
			} else {
				routes += fmt.Sprintf("  %s: {to: %s, steps: [{name: one, call: %s, effect: \"one/${event.id}\"}]}\n", l.name, l.name, l.route)
			}
		}
	}
	text := "tenant: kopi\nsources: {till: {}}\ndestinations:\n" + destinations + "routes:\n" + routes + server
	if notify != "" {
		text += "teams: {ops: {notify: [" + strings.TrimPrefix(notify, ", ") + "]}}\n"
	}
	// What Xero gives a person who agrees is kept apart: no key seals it here.
	kept := &auth.Memory{}
	kinds := registry()
	kinds["recipe"] = func(o connectors.Options) (connectors.Destination, error) {
		o.Connections = kept
		if o.Name != "xero" {
			o.Connections = &auth.Memory{}
		}
		return recipe.Factory(o)
	}
	file, err := config.Parse("shop.yaml", []byte(text), config.Options{Registry: kinds, Rules: ruleSets(), Notices: noticeKinds(), AllowLoopback: true, Secrets: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if at["xero"] != "" {
		connectXero(t, file.Configuration, kinds, kept)
	}
	shop.dsn = outboxtest.NewDatabase(t)
	if shop.store, err = outbox.Open(t.Context(), outbox.Config{DSN: shop.dsn, AllowUnsafe: true, Lease: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shop.store.Close)
	actor := outbox.Actor{Tenant: "kopi", Name: "ayu"}
	if _, err := shop.store.Apply(t.Context(), actor, file.Configuration, "for a test"); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"sku", "customer", "tax"} {
		if _, err := shop.store.SetMappingDefault(t.Context(), actor, outbox.SetMappingDefault{
			MappingRequest: outbox.MappingRequest{RequestID: table, Reason: "for a test"}, Table: outbox.MappingTable{Name: table}, Target: "12",
		}); err != nil {
			t.Fatal(err)
		}
	}
	if shop.applied, err = shop.store.ConfigurationOf(t.Context(), "kopi"); err != nil {
		t.Fatal(err)
	}
	delivering, _ := shop.applied.Delivering()
	for _, d := range delivering {
		shop.declared[d.Name] = d
	}
	for range 2 {
		shop.dispatch(kinds)
	}
	return shop
}

// connectXero does what a person and raffsync connect do.
func connectXero(t *testing.T, c outbox.Configuration, kinds connectors.Registry, kept connectors.Connections) {
	d := c.Destinations[slices.IndexFunc(c.Destinations, func(d outbox.DestinationConfig) bool { return d.Name == "xero" })]
	made, err := kinds.New(d.Kind, connectors.Options{Name: d.Name, Settings: d.Settings, Secret: config.ResolveSecret, AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	connector := made.(auth.Authenticated).Authenticator().(auth.Connector)
	consent, err := connector.Consent("http://127.0.0.1:1/callback")
	if err != nil {
		t.Fatal(err)
	}
	given, err := connector.Exchange(t.Context(), consent, "code")
	if err != nil {
		t.Fatal(err)
	}
	claim, err := kept.Claim(t.Context(), 0, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Save(t.Context(), claim, given); err != nil {
		t.Fatal(err)
	}
}

// dispatch runs one replica until the test ends.
func (s *limitedShop) dispatch(kinds connectors.Registry) {
	log := slog.New(slog.DiscardHandler)
	mappings, err := outbox.NewMappings(outbox.MappingsConfig{Store: s.store, Log: log})
	if err == nil {
		err = mappings.Refresh(s.Context())
	}
	if err != nil {
		s.Fatal(err)
	}
	dispatcher, err := dispatch.New(dispatch.Config{Store: s.store, Log: log, Lease: 2 * time.Second, Mappings: mappings})
	if err != nil {
		s.Fatal(err)
	}
	p := newPlans(s.store, kinds, true, log, func(plan *dispatch.Plan, _ map[string]*broker.Rules, _ []*hooks.Source) { dispatcher.SetPlan(plan) })
	if err := p.load(s.Context()); err != nil {
		s.Fatal(err)
	}
	for _, share := range p.shares {
		for _, trouble := range share.problems {
			s.Fatal(trouble.problem)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- dispatcher.Run(ctx) }()
	s.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			s.Errorf("it ended with %v", err)
		}
	})
}

// burst appends so many deliveries to each destination at once, and waits until all of
// them have been delivered.
func (s *limitedShop) burst(all []limited, each func(name string) int) (since time.Time) {
	writer, err := s.store.OpenWriter(s.Context(), 1)
	if err != nil {
		s.Fatal(err)
	}
	defer writer.Close(context.Background())
	var entries []outbox.Entry
	for _, l := range all {
		for i := range each(l.name) {
			id := fmt.Sprintf("%s/%d", l.name, i)
			entries = append(entries, outbox.Entry{
				Event: outbox.Event{
					Tenant: "kopi", Source: s.applied.Names.Sources["till"], ID: id, Type: "order.paid", OrderingKey: id, OccurredAt: time.Now(),
					ContentType: "application/json", Payload: json.RawMessage(l.data),
				},
				Targets: []outbox.Target{{Destination: s.applied.Names.Destinations[l.name], Route: l.name}},
			})
		}
	}
	since = time.Now()
	if _, err := writer.Append(s.Context(), entries); err != nil {
		s.Fatal(err)
	}
	db := connect(s.T, s.dsn)
	waitUntil(s, func() bool { return query[int](s.T, db, `SELECT count(*) FROM deliveries WHERE state <> 2`) == 0 }, func() string {
		return query[string](s.T, db, `SELECT coalesce(string_agg(concat_ws(' ', kind, rule, reason), E'\n'), '') FROM timeline WHERE what = 'attempt' AND state <> 'DELIVERED'`)
	})
	if reasons := query[string](s.T, db, `SELECT coalesce(string_agg(DISTINCT concat_ws(' ', class, rule, code, field), ', '), '') FROM exceptions`); reasons != "" {
		s.Errorf("exceptions: %s", reasons)
	}
	return since
}
