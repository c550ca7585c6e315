package graph

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

type jobPayload struct {
	Job *struct {
		ID, Action, State, Actor, Reason string
		Total, Done, Failed              int
		Filter                           map[string]any
		Failures                         []struct {
			Delivery *struct{ ID string }
			Reason   string
		}
	}
	UserErrors []struct {
		Field         []string
		Message, Code string
	}
}

func TestMutation_Reprocess(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 3, "books")
	h.publish(t, "kopi", 2, "stock")
	h.exec(t, `UPDATE deliveries SET state = 1, due_at = now() + interval '1 hour'`)
	var preview struct {
		JobPreview struct {
			Preview *struct{ Total, NeedsAction, Unknown, Taken int }
			jobPayload
		}
	}
	const previewed = `query ($f: JobFilter!) { jobPreview(filter: $f) { preview { total needsAction unknown taken } userErrors { field message code } } }`
	h.get(t, "kopi", previewed, map[string]any{"f": map[string]any{"destination": "books", "state": "WAITING"}}, &preview)
	if p := preview.JobPreview.Preview; p == nil || p.Total != 3 || p.NeedsAction != 0 {
		t.Errorf("the preview: %+v", preview)
	}
	const payload = ` { job { id action state total done failed filter actor reason failures { delivery { id } reason } } userErrors { field message code } } }`
	start := func(tenant string, in map[string]any) jobPayload {
		var p struct{ Reprocess jobPayload }
		h.get(t, tenant, `mutation ($i: ReprocessInput!) { reprocess(input: $i)`+payload, map[string]any{"i": in}, &p)
		return p.Reprocess
	}
	change := func(tenant, id, to string) jobPayload {
		var p struct{ ChangeJob jobPayload }
		h.get(t, tenant, `mutation ($i: ChangeJobInput!) { changeJob(input: $i)`+payload, map[string]any{"i": map[string]any{"id": id, "state": to, "reason": "by hand"}}, &p)
		return p.ChangeJob
	}
	w := watchSSE(t, h, "kopi", "")
	w.next()
	in := map[string]any{"requestId": "r1", "filter": map[string]any{"destination": "books"}, "reason": "the platform is back"}
	p := start("kopi", in)
	if p.Job == nil || p.Job.Action != "REPROCESS" || p.Job.State != "RUNNING" || p.Job.Total != 3 || p.Job.Filter["destination"] != "books" {
		t.Fatalf("started: %+v", p)
	}
	id := p.Job.ID
	if again := start("kopi", in); again.Job == nil || again.Job.ID != id {
		t.Errorf("the same request again: %+v", again)
	}
	for name, c := range map[string]struct {
		change map[string]any
		code   string
		field  string
		says   string
	}{
		"the same for another":    {map[string]any{"requestId": "r2", "action": "SKIP"}, "CONFLICT", "filter", "was first: job " + id},
		"another by that id":      {map[string]any{"rate": 7}, "INVALID", "requestId", "used for another job"},
		"everything":              {map[string]any{"requestId": "r3", "filter": map[string]any{}}, "INVALID", "filter", "everything that has failed"},
		"nothing":                 {map[string]any{"requestId": "r4", "filter": map[string]any{"class": "POISON"}}, "INVALID", "filter", "nothing"},
		"no such destination":     {map[string]any{"requestId": "r5", "filter": map[string]any{"destination": "shelf"}}, "INVALID", "filter destination", "shelf"},
		"an id of something else": {map[string]any{"requestId": "r6", "filter": map[string]any{"deliveries": []string{"exc_1"}}}, "INVALID", "filter deliveries", "not an id of ours"},
	} {
		q := map[string]any{}
		for k, v := range in {
			q[k] = v
		}
		for k, v := range c.change {
			q[k] = v
		}
		got := start("kopi", q)
		if len(got.UserErrors) != 1 || got.UserErrors[0].Code != c.code || strings.Join(got.UserErrors[0].Field, " ") != "input "+c.field || !strings.Contains(got.UserErrors[0].Message, c.says) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := change("kopi", id, "PAUSED"); got.Job == nil || got.Job.State != "PAUSED" {
		t.Errorf("paused: %+v", got)
	}
	if got := change("teh", id, "CANCELLED"); len(got.UserErrors) != 1 || got.UserErrors[0].Code != "NOT_FOUND" {
		t.Errorf("by another tenant: %+v", got)
	}
	change("kopi", id, "RUNNING")
	h.exec(t, `UPDATE deliveries SET version = version + 1 WHERE ctid = (SELECT d.ctid FROM deliveries d JOIN job_members USING (lane, destination, seq) LIMIT 1)`)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if _, more, err := h.store.JobRunner().Step(t.Context()); err != nil || !more {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	var seen struct {
		Job  struct{ jobPayloadJob }
		Jobs []struct{ ID, State string }
	}
	h.get(t, "kopi", fmt.Sprintf(`{ job(id: "%s") { state total done failed failures(first: 5) { delivery { id } reason } } jobs(first: 5) { id state } }`, id), nil, &seen)
	if j := seen.Job; j.State != "DONE" || j.Done != 2 || j.Failed != 1 || len(j.Failures) != 1 || j.Failures[0].Delivery == nil || len(seen.Jobs) != 1 {
		t.Errorf("seen afterwards: %+v", seen)
	}
	var states []string
	for len(states) == 0 || states[len(states)-1] != "DONE" {
		batch, ok := w.next()
		if !ok {
			t.Fatalf("the live feed ended after %v", states)
		}
		for _, j := range batch.Jobs {
			states = append(states, j.State)
		}
	}
	var foreign struct{ Job *struct{ ID string } }
	if h.get(t, "teh", fmt.Sprintf(`{ job(id: "%s") { id } }`, id), nil, &foreign); foreign.Job != nil {
		t.Error("another tenant sees the job")
	}
}

type jobPayloadJob struct {
	State               string
	Total, Done, Failed int
	Failures            []struct {
		Delivery *struct{ ID string }
		Reason   string
	}
}
