package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/outbox"
)

// defaultRedirect is where a platform sends the browser back to. Platforms want it to be
// registered, so it does not change by itself.
const defaultRedirect = "http://127.0.0.1:8765/callback"

type connectCommand struct {
	tenantFlag
	Destination string        `arg:"" help:"Name of the destination in the configuration."`
	Redirect    string        `help:"Address that the platform leads back to; register it there. Where it is on this machine, the answer is awaited there." default:"${redirect}" placeholder:"URL"`
	Code        bool          `help:"Read the code, or the whole address that the browser ends at, from the terminal instead of waiting for it."`
	Wait        time.Duration `help:"How long to wait for the person to agree." default:"10m"`
	Development bool          `help:"Allow a platform on this machine."`
}

func (connectCommand) Help() string {
	return `Prints the address where somebody agrees that Raffs Sync may use the account at the
platform, waits for the answer, and keeps what the platform gives, sealed. What was held
because the authorisation was gone goes on by itself.

A destination whose credentials need nobody's consent (client credentials, logins) is
asked for a token or session once, to see that they work.

Examples:
  raffsync connect xero
  raffsync connect accurate --code
  raffsync connect xero --redirect https://sync.example/callback --code`
}

func (c *connectCommand) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, id, connector, err := connectable(ctx, store, c.tenantFlag, c.Destination, c.Development)
		if err != nil {
			return err
		}
		switch {
		case !connector.Renews():
			return fmt.Errorf("%s needs no connection: auth of kind %s stands in the configuration", c.Destination, connector.Kind())
		case connector.Consents():
			if err := c.consent(ctx, store, actor(tenant), id, connector); err != nil {
				return err
			}
		}
		if err := tryConnection(ctx, connector); err != nil {
			return fmt.Errorf("%s: %w", c.Destination, err)
		}
		if err := letGo(ctx, store, actor(tenant), c.Destination); err != nil {
			return err
		}
		fmt.Printf("%s is connected.\n", c.Destination)
		return nil
	})
}

// connectable builds a destination as it is configured.
func connectable(ctx context.Context, store *outbox.Store, of tenantFlag, name string, loopback bool) (tenant string, id int32, c auth.Connector, err error) {
	if tenant, err = of.resolve(ctx, store); err != nil {
		return tenant, 0, nil, err
	}
	current, err := store.ConfigurationOf(ctx, tenant)
	if err != nil {
		return tenant, 0, nil, err
	}
	for _, d := range current.Configuration.Destinations {
		if d.Name != name {
			continue
		}
		id = current.Names.Destinations[name]
		made, err := registry().New(d.Kind, connectors.Options{
			Name: d.Name, Settings: d.Settings, Rules: d.Rules, Secret: config.ResolveSecret, AllowLoopback: loopback,
			Connections: connections{store.Connections(tenant, id)},
		})
		if err != nil {
			return tenant, 0, nil, err
		}
		if c = connectorOf(made); c == nil {
			return tenant, 0, nil, fmt.Errorf("destination %s is of kind %s, which has no auth section", name, d.Kind)
		}
		return tenant, id, c, nil
	}
	return tenant, 0, nil, fmt.Errorf("tenant %s has no destination %q", tenant, name)
}

// tryConnection has a request authorised that is never sent: what is to be renewed or
// called first is.
func tryConnection(ctx context.Context, c auth.Connector) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://example.com/", nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c.Authorize(ctx, r)
}

// letGo gives back a destination that was held as a whole because its authorisation was
// gone. Where nothing was held, there is nothing to do.
func letGo(ctx context.Context, store *outbox.Store, who outbox.Actor, destination string) error {
	const authorisation outbox.ControlKind = "authorisation"
	err := store.Control(ctx, who, outbox.ControlRequest{
		RequestID: "connect " + rand.Text(), Kind: authorisation, Name: destination, State: outbox.Automatic, Reason: "connected again",
	})
	var refused *outbox.Refusal
	if errors.As(err, &refused) || errors.Is(err, outbox.ErrNotFound) {
		return nil
	}
	return err
}

// consent has a person agree, and keeps what comes of it.
func (c *connectCommand) consent(ctx context.Context, store *outbox.Store, who outbox.Actor, id int32, connector auth.Connector) error {
	redirect, err := url.Parse(c.Redirect)
	if err != nil || redirect.Host == "" {
		return fmt.Errorf("--redirect %s is not an address, as %s", c.Redirect, defaultRedirect)
	}
	consent, err := connector.Consent(c.Redirect)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	var code string
	if c.Code {
		fmt.Printf("Open this address and agree:\n\n  %s\n\nThen paste the address that the browser ends at, or the code in it: ", consent.URL)
		code, err = readCode(os.Stdin, consent.State)
	} else {
		code, err = awaitCode(ctx, redirect, consent)
	}
	if err != nil {
		return err
	}
	given, err := connector.Exchange(ctx, consent, code)
	if err != nil {
		return err
	}
	_, err = store.Connect(ctx, who, id, outbox.Connection(given))
	return err
}

// readCode takes a code, or the address that a code came in.
func readCode(in io.Reader, state string) (string, error) {
	text, err := bufio.NewReader(in).ReadString('\n')
	if text = strings.TrimSpace(text); text == "" {
		return "", errors.Join(errors.New("no code was given"), err)
	}
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return codeOf(u.Query(), state)
	}
	return text, nil
}

// errForeign: somebody else's answer, or one of an earlier try.
var errForeign = errors.New("the answer is not to this request (its state is another); begin again")

// codeOf reads what a platform leads back with.
func codeOf(q url.Values, state string) (string, error) {
	switch {
	case q.Get("state") != state:
		return "", errForeign
	case q.Get("error") != "":
		return "", fmt.Errorf("the platform says that it was not agreed to: %.60q", q.Get("error"))
	case q.Get("code") == "":
		return "", errors.New("the platform's answer holds no code")
	}
	return q.Get("code"), nil
}

// awaitCode listens where the platform leads back to, until an answer to this consent
// comes. Others are refused and waited past: anybody on this machine can ask.
func awaitCode(ctx context.Context, redirect *url.URL, consent auth.Consent) (string, error) {
	var listening net.ListenConfig
	if redirect.Scheme != "http" || redirect.Port() == "" {
		return "", fmt.Errorf("nothing can be awaited at %s; add --code, and paste what the browser ends at", redirect)
	}
	l, err := listening.Listen(ctx, "tcp", redirect.Host)
	if err != nil {
		return "", fmt.Errorf("cannot listen on %s for the answer; free it, or add --code: %w", redirect.Host, err)
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		l.Close()
		return "", fmt.Errorf("%s can be reached from other machines; use 127.0.0.1, or add --code", redirect.Host)
	}
	type answer struct {
		code string
		err  error
	}
	answered := make(chan answer, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if r.URL.Path != redirect.Path {
			http.NotFound(w, r)
			return
		}
		code, err := codeOf(r.URL.Query(), consent.State)
		if errors.Is(err, errForeign) {
			http.Error(w, "This is not the answer that is awaited.", http.StatusBadRequest)
			return
		}
		text := "Thank you. You may close this window; see the terminal."
		if err != nil {
			text = "It was not agreed to. You may close this window."
		}
		fmt.Fprintln(w, text)
		select {
		case answered <- answer{code, err}:
		default:
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(stopping)
		<-served
	}()
	fmt.Printf("Open this address and agree:\n\n  %s\n\nwaiting for the answer at %s …\n", consent.URL, redirect)
	select {
	case a := <-answered:
		return a.code, a.err
	case <-ctx.Done():
		return "", errors.New("nobody agreed in time; run it again")
	}
}
