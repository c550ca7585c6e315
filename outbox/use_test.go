package outbox_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"raffsync/outbox"
)

// uses is what the running processes make of kopi's configuration.
func (s *shop) uses() []outbox.ProcessUse {
	s.t.Helper()
	found, err := s.Uses(s.t.Context(), "kopi")
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

func TestProcess_Report(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books", "stock")
	process := func() *outbox.Process {
		p, err := s.NewProcess(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	report := func(p *outbox.Process, changed bool, uses ...outbox.Use) {
		t.Helper()
		if err := p.Report(t.Context(), uses, changed); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(when string, want ...outbox.ProcessUse) {
		t.Helper()
		numbers := cmpopts.IgnoreFields(outbox.ProcessUse{}, "Process")
		if diff := cmp.Diff(want, s.uses(), numbers, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	first, second := process(), process()
	wants("before anything is reported")

	good := outbox.Use{Tenant: "kopi", Version: 1}
	bad := outbox.Use{Tenant: "kopi", Version: 2, Problem: "routes: \x00 wrong", Troubles: []outbox.Trouble{{Destination: s.destinations["stock"], Problem: "stock: no secret", Rests: true}}}
	report(first, true, good, outbox.Use{Tenant: "teh", Version: 7, Problem: "another tenant's"})
	report(second, true)
	wants("one knows the tenant, the other does not yet", outbox.ProcessUse{Version: 1}, outbox.ProcessUse{})
	report(second, true, bad)
	problems := outbox.ProcessUse{Version: 2, Problems: []string{"routes: \uFFFD wrong", "stock: no secret"}}
	wants("the second has looked at version 2", outbox.ProcessUse{Version: 1}, problems)
	report(first, false)
	wants("a word that nothing changed", outbox.ProcessUse{Version: 1}, problems)

	s.exec(`UPDATE processes SET alive_until = now() - interval '1 hour' WHERE id = (SELECT min(id) FROM processes)`)
	wants("the first has been silent", problems)
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := one[int](s, `SELECT (SELECT count(*) FROM processes) + (SELECT count(DISTINCT process) FROM configuration_use)`); n != 2 {
		t.Errorf("the dead one is not forgotten: %d", n)
	}
	report(first, false, good)
	wants("it was only slow, and says all again", outbox.ProcessUse{Version: 1}, problems)

	if err := second.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	wants("the second has ended", outbox.ProcessUse{Version: 1})
	if err := s.BuryReplicas(t.Context()); err != nil {
		t.Fatal(err)
	}
	wants("whoever is alone with the database knows that nobody runs")
}
