package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"raffsync/connectors"
)

// Authenticated is what a destination is besides whose requests are authorised by this
// package.
type Authenticated interface{ Authenticator() Authenticator }

// Connector is what the authenticators of this package are besides: how people connect,
// and how what they agreed to is kept alive.
type Connector interface {
	Authenticator
	// Kind is the settings' kind.
	Kind() string
	// Renews tells whether anything is kept and renewed; a key needs no connection.
	Renews() bool
	// Consents tells whether a person must agree before anything can be sent.
	Consents() bool
	// Consent begins: it makes the address where a person agrees, which leads back to
	// redirect with a code.
	Consent(redirect string) (Consent, error)
	// Exchange turns the code into what is to be kept. One that is used twice is refused
	// by the platform, which may then revoke what it gave for the first.
	Exchange(ctx context.Context, c Consent, code string) (connectors.Connection, error)
	// Keep renews a connection that would be lost if nobody used it. It costs one look
	// into the store where there is nothing to do.
	Keep(ctx context.Context) error
}

// Consent is an agreement under way.
type Consent struct {
	URL, Redirect string
	// State comes back with the code: a request without it is somebody else's.
	State    string
	verifier string
}

// Kind implements [Connector].
func (a *authenticator) Kind() string { return a.kind }

// Renews implements [Connector].
func (a *authenticator) Renews() bool { return a.renewer != nil }

// Consents implements [Connector].
func (a *authenticator) Consents() bool { return a.oauth != nil }

// Consent implements [Connector].
func (a *authenticator) Consent(redirect string) (Consent, error) {
	if a.oauth == nil {
		return Consent{}, errors.New("auth of kind " + a.kind + " needs nobody's consent")
	}
	c := Consent{Redirect: redirect, State: random(), verifier: random()}
	sum := sha256.Sum256([]byte(c.verifier))
	c.URL = a.oauth.consentURL(redirect, c.State, base64.RawURLEncoding.EncodeToString(sum[:]))
	return c, nil
}

// random is 256 bits, in the alphabet of PKCE (RFC 7636, 4.1).
func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Exchange implements [Connector].
func (a *authenticator) Exchange(ctx context.Context, c Consent, code string) (connectors.Connection, error) {
	if a.oauth == nil {
		return connectors.Connection{}, errors.New("auth of kind " + a.kind + " needs nobody's consent")
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	g, err := a.oauth.exchange(ctx, code, c.Redirect, c.verifier, a.now())
	if err != nil {
		return connectors.Connection{}, asError(err)
	}
	g.Kind, g.Complete = a.kind, len(a.renewer.after) == 0
	return a.renewer.connection(g), nil
}

// Keep implements [Connector].
func (a *authenticator) Keep(ctx context.Context) error {
	if a.renewer == nil {
		return nil
	}
	if err := a.renewer.keepAlive(ctx); err != nil {
		return asError(err)
	}
	return nil
}
