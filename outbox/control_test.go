package outbox_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"raffsync/outbox"
)

func hold(kind outbox.ControlKind, name string, state outbox.ControlState, id string) outbox.ControlRequest {
	return outbox.ControlRequest{RequestID: id, Kind: kind, Name: name, State: state, Reason: "stocktaking"}
}

func TestStore_Control(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	s.exec(`INSERT INTO configuration (tenant, version, document, digest, actor, reason) VALUES ('kopi', 99, '{"routes": [{"name": "sales"}]}', '\x00', 'a', 'r')`)
	for _, c := range []struct {
		what string
		outbox.ControlRequest
		err     error
		refusal string
	}{
		{what: "NothingToLetGoOf", ControlRequest: hold(outbox.OfDestination, "books", outbox.Automatic, "1"), refusal: "is not held"},
		{what: "Destination", ControlRequest: hold(outbox.OfDestination, "books", outbox.Paused, "2")},
		{what: "TheSameRequestAgain", ControlRequest: hold(outbox.OfDestination, "books", outbox.Paused, "2")},
		{what: "Already", ControlRequest: hold(outbox.OfDestination, "books", outbox.Paused, "3"), refusal: "paused already"},
		{what: "Route", ControlRequest: hold(outbox.OfRoute, "sales", outbox.Paused, "4")},
		{what: "Source", ControlRequest: hold(outbox.OfSource, "till", outbox.Paused, "5")},
		{what: "Breaker", ControlRequest: hold(outbox.OfBreaker, "books", outbox.ForcedOpen, "6")},
		{what: "BreakerTheOtherWay", ControlRequest: hold(outbox.OfBreaker, "books", outbox.ForcedClosed, "7")},
		{what: "NoSuchRoute", ControlRequest: hold(outbox.OfRoute, "books", outbox.Paused, "8"), err: outbox.ErrNotFound},
		{what: "NoSuchDestination", ControlRequest: hold(outbox.OfBreaker, "sales", outbox.ForcedOpen, "9"), err: outbox.ErrNotFound},
		{what: "BreakerPaused", ControlRequest: hold(outbox.OfBreaker, "books", outbox.Paused, "10"), refusal: "cannot be PAUSED"},
		{what: "AuthorisationTakenByUs", ControlRequest: hold(outbox.OfAuthorisation, "books", outbox.Lost, "13"), refusal: "cannot be LOST"},
		{what: "AuthorisationThatIsThere", ControlRequest: hold(outbox.OfAuthorisation, "books", outbox.Automatic, "14"), refusal: "is not held"},
		{what: "NoKind", ControlRequest: hold("tenant", "kopi", outbox.Paused, "11"), refusal: "cannot be held"},
		{what: "NoRequestID", ControlRequest: hold(outbox.OfDestination, "books", outbox.Automatic, ""), refusal: "requestId"},
		{what: "RequestIDReused", ControlRequest: hold(outbox.OfDestination, "books", outbox.Automatic, "2"), refusal: "choose a new one"},
		{what: "Resume", ControlRequest: hold(outbox.OfRoute, "sales", outbox.Automatic, "12")},
	} {
		err := s.Control(t.Context(), clerk, c.ControlRequest)
		var refusal *outbox.Refusal
		switch {
		case c.refusal != "":
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, c.refusal) {
				t.Errorf("%s: %v, want a refusal that says %q", c.what, err, c.refusal)
			}
		case !errors.Is(err, c.err):
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
	}
	held, err := s.dispatcher().Controls(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range held {
		got = append(got, strings.Join([]string{c.Tenant, string(c.Kind), c.Name, string(c.State), c.Actor, c.Reason}, " "))
	}
	want := "kopi breaker books CLOSED ayu stocktaking; kopi destination books PAUSED ayu stocktaking; kopi source till PAUSED ayu stocktaking"
	if strings.Join(got, "; ") != want {
		t.Errorf("held: %s\nwant: %s", strings.Join(got, "; "), want)
	}
	entries := column[string](s, `SELECT what || ' ' || coalesce(destination::text, '-') || ' ' || (detail ->> 'name') || ' ' || (detail ->> 'state') || ' ' || reason FROM timeline WHERE what IN ('pause', 'resume', 'breaker') AND actor = 'ayu' ORDER BY entry`)
	books := column[string](s, `SELECT id::text FROM destinations WHERE name = 'books'`)[0]
	if got := strings.Join(entries, "; "); got != strings.ReplaceAll("pause # books PAUSED stocktaking; pause - sales PAUSED stocktaking; pause - till PAUSED stocktaking; breaker # books OPEN held open: stocktaking; breaker # books CLOSED held closed: stocktaking; resume - sales AUTOMATIC stocktaking", "#", books) {
		t.Errorf("the timeline says %s", got)
	}
	if err := s.Control(t.Context(), outbox.Actor{Tenant: "teh", Name: "budi"}, hold(outbox.OfDestination, "books", outbox.Automatic, "1")); !errors.Is(err, outbox.ErrNotFound) && !errors.As(err, new(*outbox.Refusal)) {
		t.Errorf("another tenant lets go of it: %v", err)
	}
}
