package outbox_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"raffsync/outbox"
)

func address(kind, settings string) outbox.AddressConfig {
	return outbox.AddressConfig{Kind: kind, Settings: json.RawMessage(settings)}
}

func TestConfiguration_Notices(t *testing.T) {
	t.Parallel()
	c := outbox.Configuration{
		Mail: outbox.MailConfig{Server: "smtp.example.com:587", From: "sync@example.com", Password: "env:P", Username: "u"},
		Teams: []outbox.TeamConfig{
			{Name: "one", Notify: []outbox.AddressConfig{address("mail", `{"to":"a@example.com"}`), address("chat", `{"url":"env:CHAT"}`)}},
			{Name: "two", Notify: []outbox.AddressConfig{
				address("mail", `{"to":"a@example.com"}`), address("chat", `{"url":"https://chat.example.com/hooks/SECRET"}`),
				address("webhook", `{"url":"https://hooks.example.com/SECRET","secret":"env:S"}`),
			}},
		},
	}
	destinations, routes := c.Notices()
	var names []string
	for i, d := range destinations {
		names = append(names, d.Name)
		if !outbox.IsNoticeDestination(d.Name) || strings.Contains(d.Name, "SECRET") || routes[i].To != d.Name || routes[i].OnException != outbox.Pass {
			t.Errorf("%+v by %+v", d, routes[i])
		}
	}
	if len(names) != 4 || names[0] != "mailto:a@example.com" || names[1] != "chat:env:CHAT" ||
		!strings.HasPrefix(names[2], "chat:chat.example.com#") || !strings.HasPrefix(names[3], "webhook:hooks.example.com#") {
		t.Errorf("%v", names)
	}
	if got, want := string(destinations[0].Settings), `{"server":"smtp.example.com:587","from":"sync@example.com","username":"u","password":"env:P","to":"a@example.com"}`; got != want {
		t.Errorf("settings %s, want %s", got, want)
	}
}

// An address that is named no more drains by itself, whatever is on its way to it.
func TestStore_ApplyTakesAddressesAway(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	with := configuration("kopi", "books")
	with.Teams = []outbox.TeamConfig{{Name: "ops", Language: "en", Notify: []outbox.AddressConfig{address("mail", `{"to":"ops@example.com"}`)}}}
	applied := s.apply(with)
	id, known := applied.Names.Destinations["mailto:ops@example.com"]
	if source := applied.Names.Sources[outbox.NoticeSource]; !known || source == 0 {
		t.Fatalf("%+v", applied.Names)
	}
	n := s.OpenNotifier(1)
	defer n.Close(t.Context())
	lanes, err := n.Transact(t.Context(), func(tx outbox.NoticeTx) error {
		return tx.Notify(t.Context(), []outbox.Entry{{
			Event:   outbox.Event{Tenant: "kopi", Source: applied.Names.Sources[outbox.NoticeSource], ID: "n1", Type: outbox.TypeNotice, OrderingKey: "notice/ops", Payload: []byte(`{}`)},
			Targets: []outbox.Target{{Destination: id, Route: "mailto:ops@example.com"}},
		}})
	})
	if err != nil || len(lanes) != 1 {
		t.Fatal(lanes, err)
	}
	if rest, err := s.OpenOfRemoved(t.Context(), configuration("kopi", "books")); err != nil || len(rest) != 0 {
		t.Errorf("a word is wanted for %+v, %v", rest, err)
	}
	applied = s.apply(configuration("kopi", "books"))
	if names := draining(applied); !slices.Equal(names, []string{"mailto:ops@example.com"}) {
		t.Fatalf("draining %v", names)
	}
	destinations, routes := applied.Delivering()
	if len(destinations) != 2 || len(routes) == 0 || routes[0].To != "mailto:ops@example.com" {
		t.Errorf("delivering %+v by %+v", destinations, routes)
	}
	if again := s.apply(with); len(again.Draining) != 0 || again.Names.Destinations["mailto:ops@example.com"] != id {
		t.Errorf("draining %v", draining(again))
	}
	if _, err := s.CreateKey(t.Context(), clerk, outbox.NoticeSource); err == nil {
		t.Error("somebody can send as the installation")
	}
}

// What a transaction of a notifier fails at is not there; the next one works.
func TestNotifier_Fails(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	n := s.OpenNotifier(1)
	defer n.Close(t.Context())
	notify := func(id string, fail error) error {
		_, err := n.Transact(t.Context(), func(tx outbox.NoticeTx) error {
			e := s.entry(id, "order/1", "books")
			if err := tx.Notify(t.Context(), []outbox.Entry{e}); err != nil {
				return err
			}
			return fail
		})
		return err
	}
	if err := notify("one", outbox.ErrConflict); err != outbox.ErrConflict {
		t.Fatal(err)
	}
	if err := notify("two", nil); err != nil {
		t.Fatal(err)
	}
	if err := notify("two", nil); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("an id that is taken: %v", err)
	}
	if ids := column[string](s, `SELECT id FROM events`); !slices.Equal(ids, []string{"two"}) {
		t.Errorf("events %v", ids)
	}
}

func TestStore_Acknowledge(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	x := one[int64](s, `INSERT INTO exceptions (tenant, class, destination) VALUES ('kopi', 'LATE', $1) RETURNING id`, s.destinations["books"])
	s.exec(`UPDATE escalations SET next_at = NULL`)
	q := outbox.AcknowledgeRequest{RequestID: "r1", Reason: "on it", Exception: x, Until: time.Now().Add(time.Hour).Truncate(time.Microsecond)}
	for range 2 {
		done, err := s.Acknowledge(t.Context(), clerk, q)
		if err != nil || done.Version != 2 || !done.Until.Equal(q.Until) {
			t.Fatal(done, err)
		}
	}
	if !one[bool](s, `SELECT next_at <= now() FROM escalations WHERE exception = $1`, x) {
		t.Error("the worker does not hear of it")
	}
	if got := one[string](s, `SELECT what || ' ' || actor || ' ' || reason FROM timeline WHERE exception = $1 AND detail ? 'until'`, x); got != "acknowledge ayu on it" {
		t.Errorf("the timeline says %s", got)
	}
	old := int32(1)
	q.RequestID, q.ExpectedVersion = "r2", &old
	if _, err := s.Acknowledge(t.Context(), clerk, q); !errors.Is(err, outbox.ErrConflict) {
		t.Errorf("an outdated version: %v", err)
	}
	q.ExpectedVersion = nil
	if _, err := s.Acknowledge(t.Context(), outbox.Actor{Tenant: "teh", Name: "x"}, q); err != outbox.ErrNotFound {
		t.Errorf("another tenant's: %v", err)
	}
	s.exec(`UPDATE exceptions SET status = 'RESOLVED', closed_at = now() WHERE id = $1`, x)
	if _, err := s.Acknowledge(t.Context(), clerk, q); err == nil || !strings.Contains(err.Error(), "RESOLVED") {
		t.Errorf("what is over: %v", err)
	}
}

// After a restore every destination rests but those by which people hear of it.
func TestStore_AfterRestoreTeamsAreTold(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	c := configuration("kopi", "books")
	c.Teams = []outbox.TeamConfig{{Name: "ops", Language: "en", Notify: []outbox.AddressConfig{address("mail", `{"to":"ops@example.com"}`)}}}
	s.apply(c)
	restored, err := s.AfterRestore(t.Context(), "ayu")
	if err != nil || len(restored) != 1 || !slices.Equal(restored[0].Paused, []string{"books"}) {
		t.Errorf("%+v, %v", restored, err)
	}
}
