package outbox_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

func configuration(tenant string, destinations ...string) outbox.Configuration {
	c := outbox.Configuration{Tenant: tenant, Sources: []outbox.SourceConfig{{Name: "till"}}}
	for _, name := range destinations {
		c.Destinations = append(c.Destinations, outbox.DestinationConfig{Name: name, Kind: "webhook", Settings: json.RawMessage(`{}`)})
	}
	return c
}

func (s *shop) apply(c outbox.Configuration) outbox.Applied {
	s.t.Helper()
	applied, err := s.Apply(s.t.Context(), outbox.Actor{Tenant: c.Tenant, Name: "ayu"}, c, "for a test")
	if err != nil {
		s.t.Fatal(err)
	}
	return applied
}

func TestStore_Apply(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books", "stock")

	t.Run("MakesAVersionWhereSomethingDiffers", func(t *testing.T) {
		s := shop.emptied(t)
		first := s.apply(configuration("teh", "books"))
		if first.Version != 1 {
			t.Errorf("the first version is %d", first.Version)
		}
		if again := s.apply(configuration("teh", "books")); again.Version != 1 {
			t.Errorf("the same again is version %d, want 1", again.Version)
		}
		second := s.apply(configuration("teh", "books", "stock"))
		if second.Version != 2 {
			t.Errorf("another one is version %d, want 2", second.Version)
		}
		if second.Names.Destinations["books"] != first.Names.Destinations["books"] {
			t.Error("a destination's number has changed")
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE tenant = 'teh' AND what = 'configuration' AND actor = 'ayu' AND reason = 'for a test'`); n != 2 {
			t.Errorf("%d entries, want 2", n)
		}
		inForce, err := s.ConfigurationOf(t.Context(), "teh")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(second, inForce); diff != "" {
			t.Errorf("in force (-applied +read):\n%s", diff)
		}
	})

	t.Run("KeepsTenantsApart", func(t *testing.T) {
		s := shop.emptied(t)
		teh := s.apply(configuration("teh", "books"))
		if teh.Names.Destinations["books"] == s.destinations["books"] {
			t.Error("two tenants' destinations have one number")
		}
		all, err := s.Configurations(t.Context())
		if err != nil || len(all) != 2 || all[0].Tenant != "kopi" || all[1].Tenant != "teh" {
			t.Errorf("configurations %+v, %v", all, err)
		}
		if _, err := s.ConfigurationOf(t.Context(), "susu"); !errors.Is(err, outbox.ErrNotFound) {
			t.Errorf("of a tenant that is not there: %v", err)
		}
	})

	t.Run("RefusesToRemoveADestinationWithOpenDeliveries", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		open := d.deliveryOf("e1", "order/1", "books")
		var refusal *outbox.Refusal
		_, err := s.Apply(t.Context(), clerk, configuration("kopi", "stock"), "no books any more")
		if !errors.As(err, &refusal) || refusal.Field != "destinations" || !strings.Contains(refusal.Message, "books") {
			t.Fatalf("error %v, want a refusal that names it", err)
		}
		if n := one[int](s, `SELECT count(*) FROM destinations WHERE removed_at IS NULL`); n != 2 {
			t.Errorf("%d destinations, want both", n)
		}
		d.intend(open)
		d.finish(attempt(open, outbox.StateDelivered))
		removed := s.apply(configuration("kopi", "stock"))
		if _, there := removed.Names.Destinations["books"]; there {
			t.Error("its name is still in force")
		}
		// It comes back as what it was, since the timeline speaks of its number.
		if back := s.apply(configuration("kopi", "stock", "books")); back.Names.Destinations["books"] != open.Destination {
			t.Error("it came back with another number")
		}
	})

	t.Run("MakesOneVersionOfSeveralAtOnce", func(t *testing.T) {
		s := shop.emptied(t)
		versions := make([]int, 6)
		var all sync.WaitGroup
		for i := range versions {
			all.Go(func() {
				applied, err := s.Apply(t.Context(), outbox.Actor{Tenant: "teh", Name: "ayu"}, configuration("teh", strings.Repeat("x", i/2+1)), "at once")
				if err != nil {
					t.Error(err)
				}
				versions[i] = applied.Version
			})
		}
		all.Wait()
		if n := one[int](s, `SELECT count(DISTINCT version) - max(version) FROM configuration WHERE tenant = 'teh'`); n != 0 {
			t.Errorf("the versions %v have gaps", versions)
		}
	})
}
