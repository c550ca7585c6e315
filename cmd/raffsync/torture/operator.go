package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// operator is a person with an API login who sees to exceptions.
type operator struct {
	replicas []*replica
	state    string // folder of the login
	http     http.Client
	released atomic.Int64
	request  atomic.Int64
}

const (
	needsActionQuery = `query Held($destination: String!) {
  deliveries(filter: {destination: $destination, state: NEEDS_ACTION}, first: 100) { nodes { id version } } }`
	retryMutation = `mutation Retry($input: DeliveryTransitionInput!) {
  retryDelivery(input: $input) { userErrors { message } } }`
)

// retryAll retries what a destination holds, a page of it, and returns how many it set
// free. What is refused has changed meanwhile.
func (o *operator) retryAll(ctx context.Context, destination string) (int, error) {
	var held struct {
		Deliveries struct {
			Nodes []struct {
				ID      string
				Version int
			}
		}
	}
	if err := o.ask(ctx, needsActionQuery, map[string]any{"destination": destination}, &held); err != nil {
		return 0, err
	}
	n := 0
	for _, d := range held.Deliveries.Nodes {
		var done struct {
			RetryDelivery struct{ UserErrors []struct{ Message string } }
		}
		err := o.ask(ctx, retryMutation, map[string]any{"input": map[string]any{
			"requestId": fmt.Sprintf("torture-%d", o.request.Add(1)), "id": d.ID, "expectedVersion": d.Version, "reason": "the platform is well again",
		}}, &done)
		if err != nil {
			return n, err
		}
		if len(done.RetryDelivery.UserErrors) == 0 {
			n++
			o.released.Add(1)
		}
	}
	return n, nil
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

// keep sees to exceptions of a destination until the context ends.
func (o *operator) keep(ctx context.Context, destination string) {
	for ctx.Err() == nil {
		_, _ = o.retryAll(ctx, destination) // whoever it asked may be dead: there is a next time
		pause(ctx, 500*time.Millisecond)
	}
}
