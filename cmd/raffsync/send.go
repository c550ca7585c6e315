package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"raffsync/cmd/raffsync/config"
	"raffsync/connectors/hooks"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

type sendCommand struct {
	tenantFlag
	Source  string            `arg:"" help:"Source that it is to come from."`
	Fixture string            `arg:"" help:"File with the body, or with a recorded webhook ({\"headers\": …, \"body\": …}); - reads the standard input."`
	URL     string            `name:"url" help:"Where to; /hooks/SOURCE of the process on this machine where it is left out." placeholder:"URL"`
	Config  string            `help:"Take the source's settings from this file, not from the database: for a receiver elsewhere." type:"existingfile" placeholder:"FILE" short:"c"`
	Topic   string            `help:"What it is about, for formats that say so in a header: orders/create, order.created." placeholder:"TOPIC"`
	Header  map[string]string `help:"One more header, as Name=value. May be repeated." placeholder:"NAME=VALUE"`
	ID      string            `name:"id" help:"Id of the message, for formats that have one in a header; random where it is left out." placeholder:"ID"`
	Times   int               `help:"How often the same webhook is sent." default:"1"`
	Wait    time.Duration     `help:"How long to wait for its deliveries." default:"5s"`
	HTTP    string            `hidden:"" env:"RAFFSYNC_HTTP"`
	JSON    bool              `name:"json" help:"Print as JSON."`
}

func (sendCommand) Help() string {
	return `Signs a webhook as the source's sender would, with the first of its secrets, posts it,
and tells the answer and what became of the event. The secret must lead somewhere here,
too. Exit status 1 where any answer is not 200.

Examples:
  raffsync send shop order.json --topic orders/create
  raffsync send shop order.json --topic orders/create --times 5      # one event
  raffsync send till order.json --header X-Outlet=mall --id m-1042
  raffsync send shop recorded.json --config shop.yaml --url https://sync.example.com/hooks/shop
  echo '{"type":"order.paid","data":{"id":7}}' | raffsync send till -`
}

// sent is what is told of one request.
type sent struct {
	Status int             `json:"status"`
	Answer json.RawMessage `json:"answer,omitempty"` // where it is JSON
	Text   string          `json:"text,omitempty"`   // where it is not
}

// receiverAnswer is what the receiver says of a webhook that it took.
type receiverAnswer struct {
	Status, Event, Code, Reason string
}

func (c *sendCommand) Run(ctx context.Context, line *commandLine) error {
	if c.Times < 1 || c.Times > 1000 {
		return errors.New("--times must be between 1 and 1000")
	}
	content, err := c.read()
	if err != nil {
		return err
	}
	if c.Config != "" {
		file, err := config.Load(c.Config, config.Options{Registry: registry(), Rules: ruleSets(), AllowLoopback: true})
		if err != nil {
			return err
		}
		_, err = c.send(ctx, file.Configuration, firstOf(c.HTTP, file.Listen.HTTP), content)
		return err
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		current, err := store.ConfigurationOf(ctx, tenant)
		if err != nil {
			return err
		}
		event, err := c.send(ctx, current.Configuration, firstOf(c.HTTP, config.DefaultHTTP), content)
		if err != nil || event == "" || c.JSON {
			return err
		}
		return c.follow(ctx, store, tenant, event)
	})
}

func (c *sendCommand) read() ([]byte, error) {
	if c.Fixture == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(c.Fixture)
}

// source builds the source as its receiver does.
func (c *sendCommand) source(all outbox.Configuration) (*hooks.Source, error) {
	i := slices.IndexFunc(all.Sources, func(s outbox.SourceConfig) bool { return s.Name == c.Source })
	if i < 0 {
		return nil, fmt.Errorf("tenant %s has no source %q", all.Tenant, c.Source)
	}
	s := all.Sources[i]
	if s.Webhook == nil {
		return nil, fmt.Errorf("source %s streams over gRPC: give it a section webhook, or use `raffsync publish`", c.Source)
	}
	made, err := hooks.New(hooks.Config{Tenant: all.Tenant, Name: s.Name, Webhook: s.Webhook, Event: s.Event, Secret: config.ResolveSecret})
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", c.Source, err)
	}
	return made, nil
}

// send posts the webhook so often, and returns the id of its event, if it became one.
func (c *sendCommand) send(ctx context.Context, all outbox.Configuration, at string, content []byte) (event string, err error) {
	source, err := c.source(all)
	if err != nil {
		return "", err
	}
	to := c.URL
	if to == "" {
		to = "http://" + at + "/hooks/" + url.PathEscape(c.Source)
	}
	id := c.ID
	if id == "" {
		id = strings.ToLower(rand.Text())
	}
	var answers []sent
	for range c.Times {
		h, body := http.Header{}, content
		if recorded, ok := hooks.ReadRecorded(content); ok {
			h, body = recorded.Header, recorded.Body
		}
		for name, value := range c.Header {
			h.Set(name, value)
		}
		source.Address(h, c.Topic, id)
		source.Sign(h, body, id, time.Now())
		answer, err := post(ctx, to, h, body)
		if err != nil {
			return "", err
		}
		answers = append(answers, answer)
		var said receiverAnswer
		_ = json.Unmarshal(answer.Answer, &said) // of another program it may be anything
		if said.Event != "" && said.Status != "quarantined" {
			event = said.Event
		}
		if !c.JSON {
			fmt.Println(answer.line(said))
		}
	}
	if c.JSON {
		if err := printJSON(map[string]any{"url": to, "answers": answers, "event": event}); err != nil {
			return event, err
		}
	}
	for _, a := range answers {
		if a.Status != http.StatusOK {
			return event, errors.New("not every answer was 200")
		}
	}
	return event, nil
}

// line is one answer for people.
func (s *sent) line(said receiverAnswer) string {
	words := []string{fmt.Sprintf("%d %s", s.Status, http.StatusText(s.Status))}
	switch {
	case said.Status == "":
		words = append(words, strings.TrimSpace(s.Text+string(s.Answer)))
	case said.Reason != "":
		words = append(words, said.Status+" as "+said.Code, said.Reason)
	case said.Event != "":
		words = append(words, said.Status, "event "+said.Event)
	default:
		words = append(words, said.Status)
	}
	return strings.Join(words, " · ")
}

// maxAnswer is how much of an answer is shown.
const maxAnswer = 4 << 10

func post(ctx context.Context, to string, h http.Header, body []byte) (sent, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return sent{}, err
	}
	q.Header = h
	client := http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(q)
	if err != nil {
		return sent{}, fmt.Errorf("%w; does `raffsync serve` run there?", err)
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return sent{}, err
	}
	answer := sent{Status: response.StatusCode}
	if json.Valid(said) {
		answer.Answer = bytes.TrimSpace(said)
	} else {
		answer.Text = strings.TrimSpace(strings.ToValidUTF8(string(said), "\uFFFD"))
	}
	return answer, nil
}

// followEvery is how often deliveries are looked at.
const followEvery = 100 * time.Millisecond

// follow tells of the event's deliveries, once they have come to an end, need a person, or
// the time is over.
func (c *sendCommand) follow(ctx context.Context, store *outbox.Store, tenant, event string) error {
	over := time.After(c.Wait)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		var chapters []chapter
		err := view.New(store.API()).As(ctx, tenant, func(tx *view.Tx) (err error) {
			chapters, _, err = tell(ctx, tx, event, 1)
			return err
		})
		if err != nil {
			return err
		}
		open := false
		for _, ch := range chapters {
			for _, d := range ch.Deliveries {
				open = open || d.State == "PENDING" || d.State == "SENDING" || d.State == "WAITING"
			}
		}
		if open {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
				continue
			case <-over:
			}
		}
		for _, ch := range chapters {
			ch.summary(os.Stdout)
		}
		return nil
	}
}

// summary is one line a delivery.
func (ch *chapter) summary(out io.Writer) {
	if len(ch.Deliveries) == 0 {
		fmt.Fprintln(out, "  no route wants it")
	}
	for _, d := range ch.Deliveries {
		text := d.State
		if d.Waiting != "" {
			text += " (" + d.Waiting + ")"
		}
		if d.Reason != "" {
			text += ": " + d.Reason
		}
		fmt.Fprintf(out, "  → %s  %s\n", d.Destination, text)
	}
}
