package connectortest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const token = "tok-1f9e8d7c6b"

// toy is a destination as one would write it on an afternoon. Each flaw is one that
// such destinations have had.
type toy struct {
	url    string
	token  func() string
	client *http.Client
	flaws  map[string]bool

	mu   sync.Mutex
	last []byte
}

type toyRequest struct {
	key    string
	hidden *toyMessage
}

type toyMessage struct {
	body    []byte
	content string
	At      int64
}

func (*toyRequest) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "toy request") }
func (d *toy) Format(f fmt.State, _ rune)      { _, _ = io.WriteString(f, "toy") }

// talkative prints what it should not.
type talkative struct {
	Key, Token string
	Body       string
}

func newToy(url string, flaws ...string) *toy {
	d := &toy{url: url, token: func() string { return token }, flaws: map[string]bool{}}
	for _, flaw := range flaws {
		d.flaws[flaw] = true
	}
	d.client = &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if d.flaws["follows redirects"] && len(via) < 3 {
				return nil
			}
			return http.ErrUseLastResponse
		},
	}
	return d
}

func (d *toy) Traits() connectors.Traits { return connectors.Traits{Idempotent: true} }

func (d *toy) Prepare(step connectors.Step) (connectors.Request, error) {
	r := &toyRequest{step.Key, &toyMessage{body: step.Event.Data, content: step.Event.ID}}
	switch {
	case d.flaws["tells the attempt to the platform"]:
		r.hidden.body = fmt.Append(bytes.Clone(step.Event.Data), strings.Repeat(" ", step.Attempt-1))
	case d.flaws["has the key in the content"]:
		r.hidden.content += step.Key
	case d.flaws["reads the clock"]:
		r.hidden.At = time.Now().UnixNano()
	case d.flaws["changes the event"] && len(step.Event.Data) > 0:
		step.Event.Type = strings.ToUpper(step.Event.Type)
	case d.flaws["refuses without a kind"] && len(step.Event.Data) == 0:
		return nil, errors.New("no data")
	case d.flaws["prints payload and token"]:
		return &talkative{step.Key, token, string(step.Event.Data)}, nil
	case d.flaws["keeps the last body"]:
		d.mu.Lock()
		d.last = step.Event.Data
		d.mu.Unlock()
	}
	return r, nil
}

func (d *toy) Send(ctx context.Context, prepared connectors.Request) connectors.Outcome {
	r, ok := prepared.(*toyRequest)
	if !ok {
		said := prepared.(*talkative)
		r = &toyRequest{said.Key, &toyMessage{body: []byte(said.Body)}}
	}
	switch {
	case d.flaws["ignores the context"]:
		ctx = context.WithoutCancel(ctx)
	case ctx.Err() != nil:
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "ended", Reason: "ended before sending"}
	}
	body := r.hidden.body
	if d.flaws["keeps the last body"] {
		d.mu.Lock()
		body = d.last
		d.mu.Unlock()
	}
	if d.flaws["logs the token"] {
		slog.Info("sending", "authorization", "Bearer "+d.token())
	}
	if d.flaws["leaves a request behind"] {
		go d.post(context.WithoutCancel(ctx), r.key, nil)
	}
	o := d.post(ctx, r.key, body)
	if d.flaws["retries by itself"] && o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT {
		o = d.post(ctx, r.key, body)
	}
	return o
}

func (d *toy) post(ctx context.Context, key string, body []byte) connectors.Outcome {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	if !d.flaws["lets net/http replay"] && !d.flaws["follows redirects"] {
		request.GetBody = nil
	}
	if !d.flaws["sends no key"] {
		request.Header.Set("Idempotency-Key", key)
	}
	request.Header.Set("Authorization", "Bearer "+d.token())
	response, err := d.client.Do(request)
	if err != nil {
		return d.failed(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
	kind, ok := map[int]raffsyncv1.OutcomeKind{
		200: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED,
		201: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED,
		422: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION,
		429: raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED,
		503: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT,
	}[response.StatusCode]
	if !ok {
		kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
	}
	o := connectors.Outcome{Kind: kind, Rule: fmt.Sprint("status ", response.StatusCode), Status: response.StatusCode, Reason: response.Status}
	if d.flaws["quotes the answer"] {
		o.Excerpt = strings.ToValidUTF8(string(text), "")
	}
	return o
}

func (d *toy) failed(err error) connectors.Outcome {
	kind := raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, context.Canceled) && d.flaws["takes any cancel for nothing sent"] {
		kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	}
	return connectors.Outcome{Kind: kind, Rule: "failed", Reason: "no answer"}
}

func (r *toyRequest) Content() []byte { return []byte(r.hidden.content) }

func (d *toy) Preview(prepared connectors.Request) connectors.Preview {
	r, ok := prepared.(*toyRequest)
	if !ok {
		said := prepared.(*talkative)
		r = &toyRequest{said.Key, &toyMessage{body: []byte(said.Body)}}
	}
	p := connectors.Preview{Method: http.MethodPost, URL: d.url + "/", Header: http.Header{"Idempotency-Key": {r.key}, "Authorization": {"[redacted]"}}, Body: r.hidden.body}
	switch {
	case d.flaws["shows another body"]:
		p.Body = []byte("{}")
	case d.flaws["shows the token"]:
		p.Header.Set("Authorization", "Bearer "+d.token())
	}
	return p
}

func (d *toy) Plan(s connectors.StepConfig) (any, error) {
	if d.flaws["plans whatever it is told"] {
		return s.Call, nil
	}
	return nil, &connectors.PlanError{Path: "call", Message: "there is no call"}
}

func (d *toy) Check(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return errors.New("no answer")
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(response.Body)
	switch {
	case response.StatusCode == http.StatusOK, d.flaws["takes any answer for well"]:
		return nil
	case d.flaws["quotes the answer to a check"]:
		return errors.New(string(said))
	}
	return errors.New(response.Status)
}

// askable is a toy that asks at the same URL.
type askable struct{ *toy }

func (d askable) Reconcile(ctx context.Context, prepared connectors.Request) connectors.Reconciliation {
	r := connectors.Reconciliation{Outcome: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "asked", Reason: "asked"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/"+prepared.(*toyRequest).key, nil)
	if err != nil {
		panic(err)
	}
	response, err := d.client.Do(request)
	if err != nil {
		if d.flaws["takes silence for absence"] {
			r.Finding = connectors.Absent
		}
		return r
	}
	defer response.Body.Close()
	r.Status = response.StatusCode
	switch {
	case r.Status == http.StatusOK:
		r.Finding, r.Kind = connectors.Found, raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	case r.Status == http.StatusNotFound, r.Status >= 500 && d.flaws["takes trouble for absence"]:
		r.Finding = connectors.Absent
	}
	return r
}

func harness(flaws ...string) connectortest.Harness {
	answer := func(status int, kind raffsyncv1.OutcomeKind) connectortest.Answer {
		return connectortest.Answer{Name: fmt.Sprint(status), Status: status, Want: connectors.Outcome{Kind: kind}}
	}
	var questions []connectortest.Question
	if !slices.Contains(flaws, "prints payload and token") {
		question := func(status int, want connectors.Finding, kind raffsyncv1.OutcomeKind) connectortest.Question {
			return connectortest.Question{Name: fmt.Sprint(status), Status: status, Want: want, WantOutcome: connectors.Outcome{Kind: kind}}
		}
		questions = []connectortest.Question{
			question(200, connectors.Found, raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED),
			question(404, connectors.Absent, raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME),
			question(503, connectors.CannotTell, raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME),
		}
	}
	return connectortest.Harness{
		Questions: questions,
		Healthy:   &connectortest.Answer{Status: 200},
		CheckQuestion: func(r *http.Request, _ []byte, step connectors.Step) error {
			if r.URL.Path != "/"+step.Key {
				return errors.New("asks about another key")
			}
			return nil
		},
		New: func(_ testing.TB, url string) connectors.Destination {
			d := newToy(url, flaws...)
			if d.flaws["prints payload and token"] {
				return d // its requests are of another type
			}
			return askable{d}
		},
		Secrets: []string{token},
		Key:     func(r *http.Request, _ []byte) string { return r.Header.Get("Idempotency-Key") },
		Check: func(_ *http.Request, body []byte, step connectors.Step) error {
			if !bytes.Equal(body, step.Event.Data) {
				return errors.New("other data")
			}
			return nil
		},
		Answers: []connectortest.Answer{
			answer(200, raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED),
			answer(422, raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION),
			answer(429, raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED),
			answer(503, raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT),
			answer(418, raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED),
		},
	}
}
