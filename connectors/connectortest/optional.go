package connectortest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"raffsync/connectors"
)

// What a destination may be besides: each part is skipped where it is not.

// resend checks that what is prepared and sent again, after an outcome that nobody knows,
// is the same request: to a platform that goes by key or content, no second effect.
func (s *suite) resend(t *testing.T) {
	p := s.newPlatform(t)
	d := s.New(t, p.URL)
	step := s.newStep(d)
	p.answers(func(w http.ResponseWriter, _ received) { reset(w) })
	s.send(t, t.Context(), d, step)
	again := step
	again.Attempt++
	p.answers(s.success)
	s.send(t, t.Context(), d, again)
	all := p.all()
	if len(all) != 2 {
		t.Fatalf("%d requests arrived; 2 were sent", len(all))
	}
	first, second := all[0], all[1]
	if first.Method != second.Method || first.RequestURI != second.RequestURI || !bytes.Equal(first.body, second.body) {
		t.Errorf("the second attempt is another request: %s %s, %d bytes; %s %s, %d bytes",
			first.Method, first.RequestURI, len(first.body), second.Method, second.RequestURI, len(second.body))
	}
	if s.Key != nil && s.Key(first.Request, first.body) != s.Key(second.Request, second.body) {
		t.Error("the second attempt has another idempotency key")
	}
}

// preview checks that what is shown is what is sent, without the secrets.
func (s *suite) preview(t *testing.T) {
	p := s.newPlatform(t)
	d := s.New(t, p.URL)
	previewer, can := d.(connectors.Previewer)
	if !can {
		return
	}
	request, err := d.Prepare(s.newStep(d))
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	shown := previewer.Preview(request)
	if n := p.count(); n != 0 {
		t.Errorf("a preview sent %d requests", n)
	}
	s.sendPrepared(t, t.Context(), d, request)
	sent := p.all()[0]
	if url := p.URL + sent.RequestURI; shown.Method != sent.Method || shown.URL != url && !strings.Contains(shown.URL, "{") {
		t.Errorf("shown is %s %s, sent %s %s", shown.Method, shown.URL, sent.Method, url)
	}
	if !bytes.Equal(shown.Body, sent.body) {
		t.Error("the body that is shown is not the one that is sent")
	}
	for name, values := range shown.Header {
		if got := sent.Header.Values(name); values[0] != "[redacted]" && strings.Join(got, ",") != strings.Join(values, ",") {
			t.Errorf("%s is shown as %q, and sent as %q", name, values, got)
		}
		s.confidential(t, "a preview", strings.Join(values, ","))
	}
	s.confidential(t, "a preview", shown.URL)
}

// content checks that what a request would bring to the platform is told by the event and
// the mapping alone.
func (s *suite) content(t *testing.T) {
	d := s.New(t, s.newPlatform(t).URL)
	content := func(step connectors.Step) []byte {
		request, err := d.Prepare(step)
		if err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		told, can := request.(connectors.Content)
		if !can {
			return nil
		}
		return told.Content()
	}
	step, other := s.newStep(d), s.newStep(d)
	first := content(step)
	if first == nil {
		return
	}
	again := step
	again.Attempt, again.Key = 7, other.Key
	if !bytes.Equal(first, content(again)) {
		t.Error("the content is another at another attempt, with another key")
	}
	if bytes.Equal(first, content(other)) {
		t.Error("the content of another event is the same")
	}
	s.confidential(t, "a request's content", string(first))
}

// planning checks how a destination refuses what a route can't mean.
func (s *suite) planning(t *testing.T) {
	planner, can := s.New(t, s.newPlatform(t).URL).(connectors.Planner)
	if !can {
		return
	}
	_, err := planner.Plan(connectors.StepConfig{Name: "first", Call: "no-such-call"})
	var wrong *connectors.PlanError
	if !errors.As(err, &wrong) || wrong.Path != "call" {
		t.Errorf("a step with a call that there is not is refused with %v; want a *connectors.PlanError at call", err)
	}
}

// checking checks that a question whether the connection works changes nothing, and shows
// no secret.
func (s *suite) checking(t *testing.T) {
	p := s.newPlatform(t)
	d := s.New(t, p.URL)
	checker, can := d.(connectors.Checker)
	if !can || s.Healthy == nil {
		return
	}
	check := func(ctx context.Context) error {
		done := make(chan error, 1)
		go func() { done <- checker.Check(ctx) }()
		select {
		case err := <-done:
			if err != nil {
				s.confidential(t, "the error of a check", err.Error())
			}
			return err
		case <-time.After(patience):
			t.Fatal("Check does not return")
			panic("unreachable")
		}
	}
	p.answers(func(w http.ResponseWriter, _ received) { s.Healthy.write(w) })
	if err := check(t.Context()); err != nil {
		t.Errorf("all is well, and Check says %v", err)
	}
	if n := p.count(); n != 1 {
		t.Errorf("one Check made %d requests", n)
	}
	for _, status := range []int{302, 401, 403, 500} {
		p.answers(func(w http.ResponseWriter, r received) {
			quote(w, status, r.URL.RequestURI()+" "+strings.Join(append(s.Secrets, r.Header.Get("Authorization")), " "))
		})
		if check(t.Context()) == nil {
			t.Errorf("status %d, and Check says that all is well", status)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := p.count()
	if check(ctx) == nil || p.count() != before {
		t.Error("Check goes on when its context has ended")
	}
}
