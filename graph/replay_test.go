package graph

import (
	"context"
	"testing"
	"time"

	"raffsync/outbox"
)

// testReplays are the store's, by a route that wants everything.
type testReplays struct{ *outbox.Store }

func wantsAll(string, int32, *outbox.Event) (string, bool) { return "again", true }

func (r testReplays) PreviewReplay(ctx context.Context, tenant, destination string, f outbox.ReplayFilter, most int) (outbox.ReplayPreview, error) {
	return r.Store.PreviewReplay(ctx, tenant, destination, f, most, wantsAll)
}

func (r testReplays) Redirect(ctx context.Context, actor outbox.Actor, q outbox.RedirectRequest) (outbox.Redirected, error) {
	return r.Store.Redirect(ctx, actor, q, wantsAll)
}

type replayPayload struct {
	Replay *struct {
		Number                     int
		Destination, State, Reason string
		Made                       int
		EndedAt                    *time.Time
	}
	UserErrors []struct {
		Field         []string
		Message, Code string
	}
}

func TestMutation_Replays(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 3, "books")
	h.publish(t, "teh", 2)
	filter := map[string]any{"from": time.Now().Add(-time.Hour).Format(time.RFC3339)}
	var preview struct {
		ReplayPreview struct {
			Preview *struct {
				Deliveries, Unwanted int
				Seconds              float64
				Complete             bool
				First                *time.Time
			}
			UserErrors []struct{ Code string }
		}
	}
	const previewed = `query ($to: String!, $f: ReplayFilter!) { replayPreview(destination: $to, filter: $f, rate: 2) { preview { deliveries unwanted seconds complete first } userErrors { code } } }`
	h.get(t, "kopi", previewed, map[string]any{"to": "stock", "f": filter}, &preview)
	if p := preview.ReplayPreview.Preview; p == nil || p.Deliveries != 3 || p.Seconds != 1.5 || !p.Complete || p.First == nil {
		t.Fatalf("preview %+v", preview)
	}
	h.get(t, "kopi", previewed, map[string]any{"to": "nowhere", "f": filter}, &preview)
	if len(preview.ReplayPreview.UserErrors) != 1 || preview.ReplayPreview.UserErrors[0].Code != "INVALID" {
		t.Errorf("of no destination: %+v", preview)
	}

	const payload = ` { replay { number destination state reason made endedAt } userErrors { field message code } } }`
	start := func(in map[string]any) replayPayload {
		var p struct{ StartReplay replayPayload }
		h.get(t, "kopi", `mutation ($in: StartReplayInput!) { startReplay(input: $in)`+payload, map[string]any{"in": in}, &p)
		return p.StartReplay
	}
	change := func(tenant string, number int, to string) replayPayload {
		var p struct{ ChangeReplay replayPayload }
		h.get(t, tenant, `mutation ($in: ChangeReplayInput!) { changeReplay(input: $in)`+payload,
			map[string]any{"in": map[string]any{"number": number, "state": to, "reason": "by hand"}}, &p)
		return p.ChangeReplay
	}
	in := map[string]any{"requestId": "r1", "destination": "stock", "filter": filter, "rate": 1000, "reason": "it is new"}
	started := start(in)
	if started.Replay == nil || started.Replay.State != "RUNNING" || started.Replay.Destination != "stock" {
		t.Fatalf("started: %+v", started)
	}
	number := started.Replay.Number
	if again := start(in); again.Replay == nil || again.Replay.Number != number {
		t.Errorf("the same request again: %+v", again)
	}
	in["rate"] = 7
	if other := start(in); len(other.UserErrors) != 1 || other.UserErrors[0].Code != "INVALID" || other.UserErrors[0].Field[1] != "requestId" {
		t.Errorf("another request by its id: %+v", other)
	}
	if p := change("kopi", number, "PAUSED"); p.Replay == nil || p.Replay.State != "PAUSED" {
		t.Errorf("paused: %+v", p)
	}
	if p := change("teh", number, "RUNNING"); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "NOT_FOUND" {
		t.Errorf("by another tenant: %+v", p)
	}
	change("kopi", number, "RUNNING")
	replayer := h.store.OpenReplayer(3, func(context.Context) (outbox.Router, error) { return wantsAll, nil })
	defer replayer.Close(context.Background())
	for made, deadline := 0, time.Now().Add(time.Minute); made == 0 && time.Now().Before(deadline); {
		if _, _, err := replayer.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		var all struct {
			Replays []struct{ Number, Made int }
		}
		h.get(t, "kopi", `{ replays(first: 5) { number made } }`, nil, &all)
		made = all.Replays[0].Made
	}
	// What it made is seen beside what was there, and a person can end it.
	var seen struct {
		Events struct {
			Nodes []struct {
				Deliveries []struct {
					ID          string
					Destination struct{ Name string }
					Replay      int
					State       string
					Version     int
				}
			}
		}
	}
	h.get(t, "kopi", `{ events(first: 1) { nodes { deliveries { id destination { name } replay state version } } } }`, nil, &seen)
	d := seen.Events.Nodes[0].Deliveries
	if len(d) != 2 || d[1].Destination.Name != "stock" || d[1].Replay != number || d[1].State != "PENDING" {
		t.Fatalf("deliveries of the event: %+v", d)
	}
	var skipped struct{ SkipDelivery transitPayload }
	h.get(t, "kopi", `mutation ($in: DeliveryTransitionInput!) { skipDelivery(input: $in) { delivery { id state version } userErrors { field message code } } }`,
		map[string]any{"in": map[string]any{"requestId": "s1", "id": d[1].ID, "expectedVersion": d[1].Version, "reason": "not this one"}}, &skipped)
	if skipped.SkipDelivery.Delivery == nil || skipped.SkipDelivery.Delivery.State != "SKIPPED" {
		t.Errorf("skipped: %+v", skipped)
	}
}

func TestMutation_RedirectDelivery(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books")
	var seen struct {
		Deliveries struct {
			Nodes []struct {
				ID      string
				Version int
			}
		}
	}
	h.get(t, "kopi", `{ deliveries(first: 1) { nodes { id version } } }`, nil, &seen)
	d := seen.Deliveries.Nodes[0]
	type payload struct {
		Delivery   *struct{ State, Reason string }
		Replay     *int
		Route      *string
		UserErrors []struct {
			Field []string
			Code  string
		}
	}
	ask := func(version int, to string) payload {
		var p struct{ RedirectDelivery payload }
		h.get(t, "kopi", `mutation ($i: RedirectDeliveryInput!) { redirectDelivery(input: $i) { delivery { state reason } replay route userErrors { field code } } }`,
			map[string]any{"i": map[string]any{"id": d.ID, "expectedVersion": version, "requestId": "r1", "to": to, "reason": "books is closed"}}, &p)
		return p.RedirectDelivery
	}
	if p := ask(d.Version, "shelf"); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "INVALID" || p.UserErrors[0].Field[1] != "to" {
		t.Errorf("to nowhere: %+v", p)
	}
	if p := ask(d.Version+1, "stock"); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "CONFLICT" || p.Delivery == nil {
		t.Errorf("by another version: %+v", p)
	}
	if p := ask(d.Version, "stock"); len(p.UserErrors) != 0 || p.Delivery == nil || p.Delivery.State != "SKIPPED" || p.Delivery.Reason != "redirected to stock: books is closed" || p.Replay == nil || *p.Route != "again" {
		t.Errorf("redirected: %+v", p)
	}
}
