package auth

import (
	"encoding/json"
	"maps"
	"time"
)

// grant is what a platform gave, as it is kept.
type grant struct {
	// Kind is the kind of authentication that it was got by. Another has no use for it.
	Kind    string    `json:"kind"`
	Token   string    `json:"token,omitempty"`
	Refresh string    `json:"refresh,omitempty"`
	Since   time.Time `json:"since,omitzero"`   // when the token was asked for
	Expires time.Time `json:"expires,omitzero"` // of the token; zero: not known
	// Consent is when a person agreed, RenewBy when the refresh token ends.
	Consent time.Time `json:"consent,omitzero"`
	RenewBy time.Time `json:"renewBy,omitzero"`
	// Variables are what the calls after the token yielded; Complete says that all of
	// them were made, and Until how long that holds.
	Variables map[string]string `json:"variables,omitempty"`
	Complete  bool              `json:"complete,omitempty"`
	Until     time.Time         `json:"until,omitzero"`
}

func decodeGrant(secret []byte, kind string) (grant, bool) {
	var g grant
	if len(secret) == 0 || json.Unmarshal(secret, &g) != nil || g.Kind != kind {
		return grant{}, false
	}
	return g, true
}

func (g grant) encode() []byte {
	raw, err := json.Marshal(g)
	if err != nil {
		panic(err) // texts and times have a form in JSON
	}
	return raw
}

// all are the variables with the token.
func (g grant) all(fixed map[string]string) map[string]string {
	all := make(map[string]string, len(fixed)+len(g.Variables)+1)
	maps.Copy(all, fixed)
	maps.Copy(all, g.Variables)
	all["token"] = g.Token
	return all
}

// end is when the grant is of no use any more; zero: not known.
func (g grant) end() time.Time {
	if g.Until.IsZero() || !g.Expires.IsZero() && g.Expires.Before(g.Until) {
		return g.Expires
	}
	return g.Until
}
