package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/egress"
	"raffsync/connectors/rules"
)

// Factory builds a destination of kind "webhook". It checks every setting, resolves
// the secrets and opens nothing; its error names each setting that is wrong. It is
// a [connectors.Factory].
func Factory(o connectors.Options) (connectors.Destination, error) {
	s, err := readSettings(o)
	set, wrong := Rules(o)
	if err := errors.Join(err, wrong); err != nil {
		return nil, err
	}
	client, err := egress.New(egress.Config{
		Timeout: longestRequest,
		MaxBody: maxAnswer,
		// One that waited for a connection would time out at a healthy receiver.
		MaxConnsPerHost: max(o.Concurrency, egress.DefaultMaxConnsPerHost),
		AllowLoopback:   o.AllowLoopback,
		AllowHTTP:       o.AllowLoopback,
	})
	if err != nil {
		return nil, err
	}
	d := &destination{
		name:      o.Name,
		host:      s.url.Scheme + "://" + s.url.Host,
		authority: strings.TrimSuffix(s.url.Host, ":"),
		url:       func() *url.URL { return s.url },
		signers:   s.signers,
		headers:   s.headers,
		known:     known(s),
		traits:    s.traits,
		rules:     set,
		client:    client,
		auth:      s.auth,
		now:       time.Now,
	}
	if s.ask != nil {
		return &askable{d, s.ask}, nil
	}
	return d, nil
}

// destination is immutable. What may be secret is behind functions, for the reason
// that [secret] gives.
type destination struct {
	name      string
	host      string // scheme, host and port
	authority string // host and port, as the header Host has them
	url       func() *url.URL
	signers   []signer
	headers   map[string]secret
	known     func() []string
	traits    connectors.Traits
	rules     *rules.Set
	client    *egress.Client
	auth      auth.Connector
	now       func() time.Time
}

// Traits implements [connectors.Destination]: what the settings declare.
func (d *destination) Traits() connectors.Traits { return d.traits }

// Format prints no more than name, scheme and host.
func (d *destination) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "webhook "+d.name+" to "+d.host)
}

var userAgent = "raffsync/" + version()

// version is the module's, as the build recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return strings.Trim(info.Main.Version, "()") // "(devel)" outside of a release
}
