package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"raffsync/connectors"
	"raffsync/connectors/egress"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// maxText is what Slack shows of a message, in bytes; it cuts longer ones anywhere.
const maxText = 35_000

// Factory builds a destination of kind "chat". It checks the settings and opens nothing.
// It is a [connectors.Factory].
func Factory(o connectors.Options) (connectors.Destination, error) {
	var settings struct {
		URL string `json:"url"`
	}
	decoder := json.NewDecoder(bytes.NewReader(o.Settings))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&settings); err != nil {
		return nil, errors.New("settings: must be an object with url")
	}
	address := settings.URL
	if strings.HasPrefix(address, "env:") || strings.HasPrefix(address, "file:") {
		var err error
		if address, err = o.Secret(address); err != nil {
			return nil, fmt.Errorf("url: %w", err)
		}
	}
	client, err := egress.New(egress.Config{AllowLoopback: o.AllowLoopback, AllowHTTP: o.AllowLoopback})
	if err != nil {
		return nil, err
	}
	to, err := url.Parse(address)
	if err != nil || to.Hostname() == "" {
		return nil, errors.New(`url: is not an absolute URL; expected for example "https://hooks.example.com/…"`)
	}
	if err := client.Allows(to); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	return &destination{name: o.Name, host: to.Host, to: func() *url.URL { return to }, client: client}, nil
}

// destination is immutable. The address is a secret, and behind a function so that nothing
// prints it.
type destination struct {
	name, host string
	to         func() *url.URL
	client     *egress.Client
}

// Format prints no more than name and host.
func (d *destination) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "chat "+d.name+" at "+d.host)
}

// Traits implements [connectors.Destination]: see the package's documentation.
func (d *destination) Traits() connectors.Traits { return connectors.Traits{Idempotent: true} }

// message is a prepared request. It prints as its length. What it says is behind a pointer:
// fmt prints what an unexported field points to, and no more.
type message struct{ body *[]byte }

func (m *message) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "chat message, %d bytes", len(*m.body))
}

// escaped: these three are all that Slack has as its own in plain text.
var escaped = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// Prepare implements [connectors.Destination].
func (d *destination) Prepare(step connectors.Step) (connectors.Request, error) {
	n, err := connectors.ReadNotice(step.Event)
	if err != nil {
		return nil, err
	}
	text := n.Subject + "\n\n" + n.Text
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]string{"text": escaped.Replace(text)}); err != nil {
		return nil, err
	}
	written := body.Bytes()
	return &message{&written}, nil
}

// Send implements [connectors.Destination].
func (d *destination) Send(ctx context.Context, prepared connectors.Request) connectors.Outcome {
	m, ok := prepared.(*message)
	if !ok {
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "request not valid", Reason: "the request is none that this destination prepared"}
	}
	request, err := http.NewRequest(http.MethodPost, "https://"+d.host, bytes.NewReader(*m.body))
	if err != nil {
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "request not valid", Reason: "no HTTP request can be made of it"}
	}
	request.URL = d.to()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "raffsync")
	response, err := d.client.Do(ctx, request)
	if response == nil {
		return failed(err)
	}
	return answered(response)
}

func failed(err error) connectors.Outcome {
	o := connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "no answer", Reason: "no answer"}
	var failure *egress.Error
	if errors.As(err, &failure) {
		o.Reason = failure.Reason
	}
	switch {
	case errors.Is(err, egress.ErrForbiddenAddress):
		o.Kind, o.Rule = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, "address not allowed"
	case errors.Is(err, egress.ErrNotSent):
		o.Kind, o.Rule = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, "no connection"
	}
	return o
}

// refusals are what chats answer to an address or a message that they will never take.
var refusals = []int{400, 401, 403, 404, 405, 410, 413, 415, 422}

// answered takes a chat at its status. What it says besides is not kept: it may quote the
// address.
func answered(r *egress.Response) connectors.Outcome {
	o := connectors.Outcome{Status: r.Status, Rule: fmt.Sprintf("status %d", r.Status), Reason: fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status))}
	switch {
	case r.Status/100 == 2:
		o.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	case r.Status == http.StatusTooManyRequests:
		o.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED
	case r.Status == http.StatusRequestTimeout, r.Status >= 500:
		o.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	case r.Status/100 == 3, slices.Contains(refusals, r.Status):
		o.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
	default:
		o.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
	}
	return o
}
