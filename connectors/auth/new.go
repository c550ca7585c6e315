package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"raffsync/connectors/egress"
)

// maxAnswer is how much of a token endpoint's answer is read.
const maxAnswer = 64 << 10

// New checks settings and resolves the secrets that they name. It opens nothing and asks
// nobody; its error names each setting that is wrong, and no secret.
func New(c Config) (Authenticator, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Client == nil {
		client, err := egress.New(egress.Config{MaxBody: maxAnswer, AllowLoopback: c.AllowLoopback, AllowHTTP: c.AllowLoopback})
		if err != nil {
			return nil, err
		}
		c.Client = client
	}
	d, err := decode(c.Settings)
	if err != nil {
		return nil, err
	}
	r := &reader{resolve: c.Secret, loopback: c.AllowLoopback}
	a := &authenticator{kind: d.Kind, now: c.Now, headers: d.Headers}
	ends := newRenewer(d.Kind, c)
	switch d.Kind {
	case kindAPIKey:
		a.fixed = r.apiKey(d)
	case kindBasic:
		a.fixed = r.basic(d)
	case kindHMAC:
		a.fixed = r.signed(d)
	case kindCredentials:
		o := r.oauth(d, c.Client)
		a.place, a.renewer = r.place(d.Place, bearer), ends
		ends.get = func(ctx context.Context, _ grant, now time.Time) (grant, error) { return o.credentials(ctx, now) }
	case kindCode:
		a.oauth = r.oauth(d, c.Client)
		a.place, a.renewer = r.place(d.Place, bearer), ends
		ends.consent, ends.get, ends.warnBefore = true, a.oauth.refresh, a.oauth.warnBefore
	case kindSession, kindOdoo, kindTryton:
		if d.Kind != kindSession {
			r.address("url", d.URL)
			if d.Kind == kindOdoo {
				d = d.odoo()
			} else {
				d = d.tryton()
			}
		}
		l := r.session(d)
		a.place, a.renewer = l.place, ends
		ends.fixed, ends.get = l.inputs, l.get(ends)
	}
	for i := range d.After {
		ends.after = append(ends.after, r.call(fmt.Sprintf("after[%d]", i), d.After[i]))
		a.renewer = ends
	}
	ends.authorize = a.add
	a.known = r.known
	return a, errors.Join(r.problems...)
}

func unauthorized(*http.Request) {}

type authenticator struct {
	kind    string
	now     func() time.Time
	fixed   fixed    // nil where the credential is one that ends
	place   place    // of the token; its name is empty where there is none
	renewer *renewer // nil where nothing ends
	oauth   *oauth   // of the authorisation code
	headers map[string]string
	known   []string
}

// Authorize implements [Authenticator].
func (a *authenticator) Authorize(ctx context.Context, r *http.Request) error {
	var g grant
	if a.renewer != nil {
		var err error
		if g, err = a.renewer.current(ctx); err != nil {
			return asError(err)
		}
	}
	a.add(r, g)
	variables := a.variables(g)
	for name, value := range a.headers {
		r.Header.Set(name, expand(value, variables))
	}
	return nil
}

// add adds the credential, and not yet what the calls after it yield.
func (a *authenticator) add(r *http.Request, g grant) {
	if a.fixed != nil {
		a.fixed(r, a.now())
	}
	if a.place.name != "" {
		a.place.put(r, a.variables(g))
	}
}

func (a *authenticator) variables(g grant) map[string]string {
	if a.renewer == nil {
		return nil
	}
	return g.all(a.renewer.fixed)
}

// Rejected implements [Authenticator].
func (a *authenticator) Rejected(_ context.Context, r *http.Request) {
	if a.renewer == nil {
		return
	}
	a.renewer.reject(func(g grant) bool {
		variables := a.variables(g)
		for name, value := range a.headers {
			if r.Header.Get(name) != expand(value, variables) {
				return false
			}
		}
		return a.place.name == "" || a.place.carries(r, variables)
	})
}

// Variables implements [Authenticator].
func (a *authenticator) Variables(ctx context.Context) (map[string]string, error) {
	if a.renewer == nil {
		return nil, nil
	}
	g, err := a.renewer.current(ctx)
	if err != nil {
		return nil, asError(err)
	}
	return maps.Clone(g.Variables), nil
}

// Secrets implements [Authenticator].
func (a *authenticator) Secrets() []string {
	known := slices.Clone(a.known)
	if a.renewer == nil {
		return known
	}
	a.renewer.mu.Lock()
	g := a.renewer.held
	a.renewer.mu.Unlock()
	for _, text := range []string{g.Token, g.Refresh} {
		if text != "" {
			known = append(known, text)
		}
	}
	for name, value := range g.Variables { // a session, and not the host that it is for
		if slices.ContainsFunc(slices.Collect(maps.Values(a.headers)), func(header string) bool { return strings.Contains(header, "{"+name+"}") }) {
			known = append(known, value)
		}
	}
	if a.place.name != "" && a.place.base64 {
		known = append(known, strings.TrimPrefix(a.place.text(a.variables(g)), a.place.prefix))
	}
	return known
}
