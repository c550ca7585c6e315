package connectortest

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
)

// Question is an answer of the platform to a question, and what has to be made of it.
type Question struct {
	Name   string
	Status int
	Header map[string]string
	Body   string
	Want   connectors.Finding
	// WantOutcome is compared as the Want of an [Answer] is.
	WantOutcome connectors.Outcome
}

// asking checks a destination that can ask: that nothing but the platform's own word
// makes it sure, in one request that changes nothing.
func (s *suite) asking(t *testing.T) {
	p := s.newPlatform(t)
	if _, can := s.New(t, p.URL).(connectors.Reconciler); !can {
		if len(s.Questions) > 0 {
			t.Error("Harness.Questions is set, and the destination is no connectors.Reconciler")
		}
		return
	}
	if s.Repeatable {
		if got := s.ask(t, t.Context(), p, newStep()); got.Finding != connectors.Absent || p.count() != 0 {
			t.Errorf("the finding is %d (%s), with %d requests; what can be repeated wants no question", got.Finding, got.Reason, p.count())
		}
		return
	}
	for _, finding := range []connectors.Finding{connectors.Found, connectors.Absent, connectors.CannotTell} {
		if finding == connectors.Found && s.QuestionFound != nil {
			continue
		}
		if !slices.ContainsFunc(s.Questions, func(q Question) bool { return q.Want == finding }) {
			t.Errorf("Harness.Questions has none whose finding is %d", finding)
		}
	}
	for _, q := range s.Questions {
		t.Run(q.Name, func(t *testing.T) {
			p := s.newPlatform(t)
			a := Answer{Status: q.Status, Header: q.Header, Body: q.Body, Want: q.WantOutcome}
			p.answers(func(w http.ResponseWriter, _ received) { a.write(w) })
			step := newStep()
			got := s.ask(t, t.Context(), p, step)
			if got.Finding != q.Want {
				t.Errorf("the finding is %d, want %d (%s)", got.Finding, q.Want, got.Reason)
			}
			if diff := cmp.Diff(a.want(), a.compared(got.Outcome)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			s.askedOnce(t, p, step)
		})
	}
	if s.QuestionFound != nil {
		t.Run("Found", s.found)
	}
	for name, respond := range map[string]func(http.ResponseWriter){
		"Reset":              reset,
		"Closed":             func(w http.ResponseWriter) { raw(w, "") },
		"Not HTTP":           func(w http.ResponseWriter) { raw(w, "\x16\x03\x01 <html>Not Found\x00\r\n\r\n") },
		"Cut in the headers": func(w http.ResponseWriter) { raw(w, "HTTP/1.1 404 Not Found\r\nContent-Ty") },
		"Redirect":           func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			p := s.newPlatform(t)
			p.answers(func(w http.ResponseWriter, _ received) { respond(w) })
			step := newStep()
			if got := s.ask(t, t.Context(), p, step); got.Finding != connectors.CannotTell {
				t.Errorf("the finding is %d (%s); this proves nothing", got.Finding, got.Reason)
			}
			s.askedOnce(t, p, step)
		})
	}
	t.Run("Refused", func(t *testing.T) {
		p := s.newPlatform(t)
		p.Server.Close()
		if got := s.ask(t, t.Context(), p, newStep()); got.Finding != connectors.CannotTell {
			t.Errorf("the finding is %d (%s); nobody was asked", got.Finding, got.Reason)
		}
	})
	t.Run("Cancelled before", func(t *testing.T) {
		p := s.newPlatform(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := s.ask(t, ctx, p, newStep()); got.Finding != connectors.CannotTell {
			t.Errorf("the finding is %d (%s); nobody was asked", got.Finding, got.Reason)
		}
		if n := p.count(); n != 0 {
			t.Errorf("a question whose context had ended made %d requests", n)
		}
	})
}

// found checks an answer that is made of the question.
func (s *suite) found(t *testing.T) {
	p := s.newPlatform(t)
	var q Question
	p.answers(func(w http.ResponseWriter, r received) {
		q = s.QuestionFound(r.Request)
		Answer{Status: q.Status, Header: q.Header, Body: q.Body}.write(w)
	})
	got := s.ask(t, t.Context(), p, newStep())
	a := Answer{Status: q.Status, Want: q.WantOutcome}
	if got.Finding != q.Want {
		t.Errorf("the finding is %d, want %d (%s)", got.Finding, q.Want, got.Reason)
	}
	if diff := cmp.Diff(a.want(), a.compared(got.Outcome)); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
}

// ask asks about the step, and checks what holds for any answer.
func (s *suite) ask(t *testing.T, ctx context.Context, p *platform, step connectors.Step) connectors.Reconciliation {
	t.Helper()
	d := s.New(t, p.URL)
	s.complete(d, &step)
	request, err := d.Prepare(step)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	done := make(chan connectors.Reconciliation, 1)
	go func() { done <- d.(connectors.Reconciler).Reconcile(ctx, request) }()
	select {
	case r := <-done:
		s.wellFormed(t, r.Outcome)
		return r
	case <-time.After(patience):
		t.Fatal("Reconcile does not return")
		panic("unreachable")
	}
}

func (s *suite) askedOnce(t *testing.T, p *platform, step connectors.Step) {
	t.Helper()
	requests := p.all()
	if len(requests) != 1 {
		t.Errorf("one question made %d requests", len(requests))
	}
	for _, r := range requests {
		if s.CheckQuestion == nil {
			continue
		}
		if err := s.CheckQuestion(r.Request, r.body, step); err != nil {
			t.Errorf("the question about %s: %v", step.Event.ID, err)
		}
	}
}
