package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func (s *settings) readAuth(raw json.RawMessage, o connectors.Options) error {
	a, err := auth.New(auth.Config{Settings: raw, Secret: o.Secret, Store: o.Connections, AllowLoopback: o.AllowLoopback})
	if err != nil {
		return err
	}
	s.auth = a.(auth.Connector)
	return nil
}

// Authenticator implements [auth.Authenticated].
func (d *destination) Authenticator() auth.Authenticator { return d.auth }

// unauthorized is what an attempt comes to for which there is no credential: nothing was
// sent.
func unauthorized(err error) connectors.Outcome {
	o := connectors.Outcome{Kind: transient, Rule: "no authorisation", Reason: "not sent: no authorisation"}
	var failed *auth.Error
	if errors.As(err, &failed) {
		o.Kind, o.Reason = failed.Kind, "not sent: "+failed.Reason
	}
	return o
}

// authenticated looks whether it was the credential that was refused. One that can be
// renewed is, before the next attempt; a 401 to it is no reason yet to call a person.
func (d *destination) authenticated(ctx context.Context, sent *http.Request, o connectors.Outcome) connectors.Outcome {
	const expired = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_EXPIRED
	if d.auth.Renews() && o.Status == http.StatusUnauthorized && o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED {
		o.Kind = expired
	}
	if o.Kind == expired {
		d.auth.Rejected(ctx, sent)
	}
	return o
}

// known is what must not be recorded where a receiver quotes it. Only what is renewed
// changes.
func known(s settings) func() []string {
	fixed := append(s.auth.Secrets(), s.known...)
	if !s.auth.Renews() {
		return func() []string { return fixed }
	}
	return func() []string { return append(s.auth.Secrets(), s.known...) }
}
