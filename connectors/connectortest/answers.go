package connectortest

import (
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// everyPlatform is what any platform that speaks HTTP has.
var everyPlatform = []raffsyncv1.OutcomeKind{
	kindDelivered,
	kindTransient,
	raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED,
	raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION,
	raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED,
}

// answers checks that each answer makes its outcome, by one request.
func (s *suite) answers(t *testing.T) {
	for _, kind := range everyPlatform {
		if !slices.ContainsFunc(s.Answers, func(a Answer) bool { return a.Want.Kind == kind }) {
			t.Errorf("Harness.Answers has none that is %s", kind)
		}
	}
	for _, a := range s.Answers {
		t.Run(a.Name, func(t *testing.T) {
			p := s.newPlatform(t)
			p.answers(func(w http.ResponseWriter, _ received) { a.write(w) })
			got := s.sendNew(t, t.Context(), s.New(t, p.URL))
			if diff := cmp.Diff(a.want(), a.compared(got)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if n := p.count(); n != 1 {
				t.Errorf("one Send made %d requests", n)
			}
		})
	}
}

func (a Answer) write(w http.ResponseWriter) {
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body)
}

func (a Answer) want() connectors.Outcome {
	want := a.compared(a.Want)
	want.Status = a.Status
	return want
}

func (a Answer) compared(o connectors.Outcome) connectors.Outcome {
	o.Reason, o.Excerpt = "", ""
	if a.Want.Rule == "" {
		o.Rule = ""
	}
	return o
}

// payloads checks that whatever can be prepared arrives, once, with its key.
func (s *suite) payloads(t *testing.T) {
	for _, payload := range payloads {
		t.Run(payload.name, func(t *testing.T) {
			p := s.newPlatform(t)
			d := s.New(t, p.URL)
			step := s.newStep(d, payload.change)
			request, err := d.Prepare(step)
			if err != nil {
				s.prepareError(t, err, step)
				return
			}
			if o := s.sendPrepared(t, t.Context(), d, request); o.Kind != kindDelivered {
				t.Errorf("a success makes %s (%s); what the platform took is DELIVERED", o.Kind, o.Reason)
			}
			// A prepared request can be sent again, as after an unknown outcome.
			s.sendPrepared(t, t.Context(), d, request)
			s.arrived(t, p, 2, step)
		})
	}
}

// arrived checks that so many requests came, each made of one of the steps.
func (s *suite) arrived(t *testing.T, p *platform, want int, steps ...connectors.Step) {
	t.Helper()
	requests := p.all()
	if len(requests) != want {
		t.Errorf("%d requests arrived; %d were sent", len(requests), want)
	}
	for _, r := range requests {
		step, ok := s.stepOf(r, steps)
		if !ok {
			t.Error("a request has no key, or that of no step")
			continue
		}
		if s.Check == nil {
			continue
		}
		if err := s.Check(r.Request, r.body, step); err != nil {
			t.Errorf("request of %s: %v", step.Event.ID, err)
		}
	}
}
