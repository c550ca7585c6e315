package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// operator is a person with an API login who sees to exceptions.
type operator struct {
	replicas []*replica
	state    string // folder of the login
	http     http.Client
	wrong    func(event string) bool // it names what is not sold
	say      func(format string, arguments ...any)
	released atomic.Int64
	edited   atomic.Int64
	jobs     atomic.Int64
	request  atomic.Int64
}

const (
	needsActionQuery = `query Held($destination: String!) {
  deliveries(filter: {destination: $destination, state: NEEDS_ACTION}, first: 100) { nodes { id version event { eventId } exception { class } } } }`
	retryMutation = `mutation Retry($input: DeliveryTransitionInput!) {
  retryDelivery(input: $input) { userErrors { message } } }`
	editMutation = `mutation Edit($input: EditDeliveryInput!) {
  editDelivery(input: $input) { userErrors { message } } }`
	jobMutation = `mutation All($input: ReprocessInput!) {
  reprocess(input: $input) { job { id } userErrors { message } } }`
)

// heldDelivery is one that needs a person.
type heldDelivery struct {
	ID        string
	Version   int
	Event     struct{ EventID string }
	Exception struct{ Class string }
}

// transition is the input of what an operator does to it.
func (o *operator) transition(d heldDelivery, reason string, more map[string]any) map[string]any {
	input := map[string]any{"requestId": o.next(), "id": d.ID, "expectedVersion": d.Version, "reason": reason}
	maps.Copy(input, more)
	return map[string]any{"input": input}
}

func (o *operator) next() string { return fmt.Sprintf("torture-%d", o.request.Add(1)) }

// refused is the part of each mutation's payload that says why nothing was done.
type refused struct{ UserErrors []struct{ Message string } }

// retryEach retries what a destination holds, one by one, a page of it, and returns how many
// it set free. What is refused has changed meanwhile. What waits for a mapping is left to
// that, but for what names nothing that is sold: there the operator puts the event right.
func (o *operator) retryEach(ctx context.Context, destination string) error {
	var held struct {
		Deliveries struct{ Nodes []heldDelivery }
	}
	if err := o.ask(ctx, needsActionQuery, map[string]any{"destination": destination}, &held); err != nil {
		return err
	}
	for _, d := range held.Deliveries.Nodes {
		var done struct{ RetryDelivery, EditDelivery refused }
		counts, call, variables := &o.released, retryMutation, o.transition(d, "the platform is well again", nil)
		if d.Exception.Class == skuUnmapped {
			if !o.wrong(d.Event.EventID) {
				continue
			}
			counts, call = &o.edited, editMutation
			variables = o.transition(d, "it is this that was sold", map[string]any{"changes": []any{map[string]any{"path": "/sku", "value": strconv.Quote(rightSKU)}}})
		}
		if err := o.ask(ctx, call, variables, &done); err != nil {
			return err
		}
		if why := append(done.RetryDelivery.UserErrors, done.EditDelivery.UserErrors...); len(why) > 0 {
			o.say("operator: %s: refused: %s", destination, why[0].Message)
			continue
		}
		counts.Add(1)
	}
	return nil
}

const skuUnmapped = "SKU_UNMAPPED"

// retryAll retries whatever a destination holds at this moment, in the background.
func (o *operator) retryAll(ctx context.Context, destination string) error {
	var done struct {
		Reprocess struct {
			Job *struct{ ID string }
			refused
		}
	}
	err := o.ask(ctx, jobMutation, map[string]any{"input": map[string]any{
		"requestId": o.next(), "action": "RETRY", "filter": map[string]any{"destination": destination, "state": "NEEDS_ACTION"},
		"rate": 1000, "reason": "the platform is well again",
	}}, &done)
	if err == nil && done.Reprocess.Job != nil && len(done.Reprocess.UserErrors) == 0 {
		o.jobs.Add(1)
	}
	return err
}

// ask puts a GraphQL request to any replica.
func (o *operator) ask(ctx context.Context, query string, variables map[string]any, into any) error {
	login, err := os.ReadFile(filepath.Join(o.state, "login"))
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := "http://" + o.replicas[rand.IntN(len(o.replicas))].http + "/graphql"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth("dev", strings.TrimSpace(string(login)))
	answer, err := o.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	var envelope struct {
		Data   json.RawMessage
		Errors []struct{ Message string }
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return fmt.Errorf("%s: %.200s", answer.Status, text)
	}
	if len(envelope.Errors) > 0 {
		return errors.New(envelope.Errors[0].Message)
	}
	return json.Unmarshal(envelope.Data, into)
}

// keep does it again and again until the context ends: whoever is asked may be dead.
func (o *operator) keep(ctx context.Context, do func(context.Context, string) error, destination string) {
	for ctx.Err() == nil {
		if err := do(ctx, destination); err != nil {
			o.say("operator: %s: %v", destination, err)
		}
		pause(ctx, operatorEvery)
	}
}

const operatorEvery = 500 * time.Millisecond
