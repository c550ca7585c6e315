package outbox_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"raffsync/outbox"
)

// editableShop is a shop whose route allows edits, with a held delivery.
func editableShop(t *testing.T) (*shop, *dispatcher) {
	s := newShop(t, "books", "stock")
	c := configuration("kopi", "books", "stock")
	c.Routes = []outbox.RouteConfig{
		{Name: "sales", To: "books", Edits: outbox.EditsConfig{Allow: []string{"/id"}, SecondPerson: []string{"/tax"}}},
	}
	s.apply(c)
	return s, s.dispatcher()
}

func editRequest(d *outbox.Delivery, id, path, value string) outbox.EditRequest {
	return outbox.EditRequest{OperatorRequest: request(d, id), Changes: []outbox.Change{{Path: path, Value: json.RawMessage(value)}}}
}

// held fails a delivery of an event with that id.
func (d *dispatcher) held(id string) *outbox.Delivery {
	d.shop.t.Helper()
	a := d.deliveryOf(id, "order/"+id, "books")
	d.intend(a)
	d.finish(attempt(a, outbox.StateNeedsAction))
	return d.again(a)
}

// again reads a delivery as it is now.
func (d *dispatcher) again(a *outbox.Delivery) *outbox.Delivery {
	d.shop.t.Helper()
	for _, open := range d.open("books") {
		if open.Seq == a.Seq {
			return open
		}
	}
	d.shop.t.Fatal("the delivery is not open any more")
	return nil
}

// payloadOf is what the delivery would be prepared from.
func (d *dispatcher) payloadOf(a *outbox.Delivery) string {
	d.shop.t.Helper()
	events, err := d.Load(d.shop.t.Context(), []*outbox.Delivery{a})
	if err != nil || events[0] == nil {
		d.shop.t.Fatal(err)
	}
	return string(events[0].Payload)
}

func TestStore_AskEdit(t *testing.T) {
	t.Parallel()
	s, d := editableShop(t)
	a := d.held("e1")
	q := editRequest(a, "r1", "/id", `"e2"`)
	done, err := s.AskEdit(t.Context(), clerk, q)
	if err != nil || done.State != outbox.EditApplied || done.Second || *done.DecidedBy != "ayu" {
		t.Fatalf("%+v, %v", done, err)
	}
	now := d.again(a)
	if now.State != outbox.Pending || !now.Edited || now.Revision != a.Revision+1 || now.Version != a.Version+1 {
		t.Errorf("the delivery is %+v", now)
	}
	due, err := d.TakeDue(t.Context(), d.lanes, []outbox.LaneDestination{{Lane: a.Lane, Destination: a.Destination}}, 10)
	if err != nil || len(due) != 1 || due[0].Delivery == nil || !due[0].Delivery.Edited {
		t.Errorf("due is %+v, %v", due, err)
	}
	if got := d.payloadOf(now); got != `{"id":"e2"}` {
		t.Errorf("it is prepared from %s", got)
	}
	if got := d.payloadOf(a); got != `{"id":"e1"}` { // without the mark, as any other delivery of it
		t.Errorf("the event is %s", got)
	}
	if again, err := s.AskEdit(t.Context(), clerk, q); err != nil || again.ID != done.ID {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	if got := one[string](s, `SELECT (detail - 'edit')::text || ' ' || reason || ' ' || actor || ' ' || state FROM timeline WHERE what = 'edit'`); got != `{"paths": ["/id"], "state": "APPLIED", "asked_by": "ayu", "second_person": false} the SKU is known now ayu PENDING` {
		t.Errorf("the timeline has %s", got)
	}
	s.consistent()
	// A second one comes on top of it.
	d.finish(attempt(now, outbox.StateNeedsAction))
	now = d.again(a)
	if _, err := s.AskEdit(t.Context(), clerk, editRequest(now, "r2", "/id", `"e3"`)); err != nil {
		t.Fatal(err)
	}
	if got := d.payloadOf(d.again(a)); got != `{"id":"e3"}` {
		t.Errorf("then it is prepared from %s", got)
	}
}

func TestStore_DecideEdit(t *testing.T) {
	t.Parallel()
	s, d := editableShop(t)
	budi, stranger := outbox.Actor{Tenant: "kopi", Name: "budi"}, outbox.Actor{Tenant: "teh", Name: "x"}
	a := d.held("e1")
	asked, err := s.AskEdit(t.Context(), clerk, editRequest(a, "r1", "/tax", `0.11`))
	if err != nil || asked.State != outbox.EditPending || !asked.Second || asked.DecidedBy != nil {
		t.Fatalf("%+v, %v", asked, err)
	}
	if now := d.again(a); now.State != outbox.NeedsAction || now.Edited || d.payloadOf(now) != `{"id":"e1"}` {
		t.Errorf("alone it did something: %+v", now)
	}
	refused := func(says string, _ outbox.Edit, err error) {
		t.Helper()
		var refusal *outbox.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, says) {
			t.Errorf("%v, want a refusal that says %q", err, says)
		}
	}
	decide := func(who outbox.Actor, id int64, approve bool) (outbox.Edit, error) {
		return s.DecideEdit(t.Context(), who, id, approve, "as the invoice says")
	}
	e, err := decide(clerk, asked.ID, true)
	refused("nobody approves their own", e, err)
	if _, err = s.AskEdit(t.Context(), clerk, editRequest(a, "r2", "/id", `1`)); err != nil { // what one person may do is not held up by what waits
		t.Error(err)
	}
	if _, err := decide(stranger, asked.ID, true); !errors.Is(err, outbox.ErrNotFound) {
		t.Errorf("by another tenant: %v", err)
	}
	d.finish(attempt(d.again(a), outbox.StateNeedsAction))
	a = d.again(a)
	e, err = s.AskEdit(t.Context(), budi, editRequest(a, "r3", "/tax", `0.12`))
	refused("waits for a second person already", e, err)
	done, err := decide(budi, asked.ID, true)
	if err != nil || done.State != outbox.EditApplied || *done.DecidedBy != "budi" || done.Actor != "ayu" {
		t.Fatalf("%+v, %v", done, err)
	}
	now := d.again(a)
	if now.State != outbox.Pending || now.Revision != a.Revision+1 || d.payloadOf(now) != `{"id":1,"tax":0.11}` {
		t.Errorf("%+v from %s", now, d.payloadOf(now))
	}
	if again, err := decide(budi, asked.ID, true); err != nil || again.State != outbox.EditApplied {
		t.Errorf("approved again: %+v, %v", again, err)
	}
	e, err = decide(budi, asked.ID, false)
	refused("budi was first: this edit is APPLIED", e, err)
	told := column[string](s, `SELECT (detail->>'state') || ' ' || (detail->>'asked_by') || ' ' || actor FROM timeline WHERE what = 'edit' AND detail->'paths' = '["/tax"]' ORDER BY entry`)
	if len(told) != 2 || told[0] != "PENDING ayu ayu" || told[1] != "APPLIED ayu budi" {
		t.Errorf("the timeline has %q", told)
	}
	s.consistent()

	// One's own may be taken back.
	b := d.held("e2")
	mine, err := s.AskEdit(t.Context(), clerk, editRequest(b, "r4", "/tax", `1`))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := decide(clerk, mine.ID, false); err != nil || done.State != outbox.EditRejected || d.again(b).State != outbox.NeedsAction {
		t.Errorf("%+v, %v", done, err)
	}
	// What has become of the delivery meanwhile counts.
	late, err := s.AskEdit(t.Context(), clerk, editRequest(b, "r5", "/tax", `1`))
	if err != nil {
		t.Fatal(err)
	}
	s.retry(b, "meanwhile")
	e, err = decide(budi, late.ID, true)
	refused("has not failed", e, err)
	s.skip(d.again(b), "after all not")
	e, err = decide(budi, late.ID, true)
	refused("it is SKIPPED", e, err)
	if pending, err := s.Edits(t.Context(), "kopi", outbox.EditPending, 0, 10); err != nil || len(pending) != 1 || pending[0].ID != late.ID {
		t.Errorf("%+v, %v", pending, err)
	}
}

func TestStore_AskEdit_Refuses(t *testing.T) {
	t.Parallel()
	s, d := editableShop(t)
	type change func(*outbox.Delivery)
	set := func(sql string) change {
		return func(a *outbox.Delivery) {
			s.exec(`UPDATE deliveries SET `+sql+` WHERE lane = $1 AND destination = $2 AND seq = $3`, a.Lane, a.Destination, a.Seq)
		}
	}
	for name, test := range map[string]struct {
		before     change
		path, says string
	}{
		"UnknownOutcome": {set(`unknown_at = now()`), "/id", "may have had its effect"},
		"UnknownEffect": {func(a *outbox.Delivery) {
			s.exec(`INSERT INTO effects (tenant, destination, effect, lane, seq, claimed_at, unknown_at) VALUES ('kopi', $2, 'order/1', $1, $3, now(), now())`, a.Lane, a.Destination, a.Seq)
		}, "/id", "may have had its effect"},
		"EarlierStepDone": {set(`step = 1`), "/id", "an earlier step is done"},
		"NotFailed":       {set(`state = 0, exception = NULL`), "/id", "has not failed"},
		"OnTheWire":       {func(a *outbox.Delivery) { b := *a; d.intend(&b) }, "/id", "on the wire"},
		"Delivered": {func(a *outbox.Delivery) {
			s.retry(a, "again")
			a.Version++
			b := *d.again(a)
			d.finish(attempt(&b, outbox.StateDelivered))
		}, "/id", "it is DELIVERED"},
		"NotAllowed":  {nil, "/total", "does not allow to change /total; it allows /id, /tax"},
		"NoSuchPlace": {nil, "/id/x", "neither an object nor a list"},
		"NoJSON": {func(a *outbox.Delivery) {
			s.exec(`DROP TRIGGER events_is_append_only ON events`) // it would refuse
			s.exec(`UPDATE events SET payload = 'id,1' WHERE seq = $1`, a.Event)
		}, "/id", "no JSON"},
	} {
		a := d.held(name)
		if test.before != nil {
			test.before(a)
		}
		_, err := s.AskEdit(t.Context(), clerk, editRequest(a, name, test.path, `1`))
		var refusal *outbox.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, test.says) {
			t.Errorf("%s: %v, want a refusal that says %q", name, err, test.says)
		}
	}
	if n := one[int](s, `SELECT count(*) FROM edits`); n != 0 {
		t.Errorf("%d edits of what was refused", n)
	}
	a := d.held("conflict")
	a.Version--
	if _, err := s.AskEdit(t.Context(), clerk, editRequest(a, "conflict", "/id", `1`)); !errors.Is(err, outbox.ErrConflict) {
		t.Errorf("by an old version: %v", err)
	}
}
