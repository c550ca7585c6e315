package auth

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// login is a session that is got by user and password.
type login struct {
	call   call
	place  place
	inputs map[string]string
}

// session reads the settings of a login.
func (r *reader) session(d document) login {
	l := login{inputs: make(map[string]string)}
	for _, name := range slices.Sorted(maps.Keys(d.Inputs)) {
		l.inputs[name] = r.text("inputs."+name, d.Inputs[name])
	}
	if d.Login == nil {
		r.failf("login", "is missing: the request that gives a session")
		return l
	}
	l.call = r.call("login", *d.Login)
	if (d.Login.Token == "") == (d.Login.Cookie == "") {
		r.failf("login", "needs either token, the path of the session in the answer, or cookie, its name")
	}
	otherwise := bearer
	if d.Login.Cookie != "" {
		otherwise = place{in: "cookie", name: d.Login.Cookie, value: "{token}"}
	}
	l.place = r.place(d.Place, otherwise)
	return l
}

// odoo is the session of Odoo's web client: its cookie goes with each request to
// /web/dataset/call_kw. A wrong password is an error inside 200.
// (odoo/odoo, addons/web/controllers/session.py.)
func (d document) odoo() document {
	return d.preset(callDocument{
		URL:     strings.TrimSuffix(d.URL, "/") + "/web/session/authenticate",
		Body:    json.RawMessage(`{"jsonrpc":"2.0","method":"call","id":1,"params":{"db":"{database}","login":"{username}","password":"{password}"}}`),
		Require: "result.uid",
		Refused: &refusedDocument{Path: "error.data.name", Contains: []string{"AccessDenied", "AccessError"}},
		Cookie:  "session_id",
	}, nil)
}

// tryton is the session of Tryton's JSON-RPC: user, user's id and session in one header.
// A wrong password is a null result, or a LoginException. (tryton/trytond, protocols/wrappers.py and
// protocols/dispatcher.py.)
func (d document) tryton() document {
	return d.preset(callDocument{
		URL:       strings.TrimSuffix(d.URL, "/") + "/" + d.Database + "/",
		Body:      json.RawMessage(`{"id":0,"method":"common.db.login","params":["{username}",{"password":"{password}"},"en"]}`),
		Require:   "result",
		Token:     "result.1",
		Variables: map[string]string{"user_id": "result.0"},
	}, &placeDocument{In: "header", Name: "Authorization", Prefix: "Session ", Value: "{username}:{user_id}:{token}", Encode: "base64"})
}

func (d document) preset(c callDocument, p *placeDocument) document {
	return document{
		Kind: kindSession, Login: &c, Place: p,
		Inputs: map[string]string{"database": d.Database, "username": d.Username, "password": d.Password},
	}
}

// get logs in.
func (l login) get(r *renewer) func(context.Context, grant, time.Time) (grant, error) {
	return func(ctx context.Context, _ grant, now time.Time) (grant, error) {
		y, err := l.call.run(ctx, r.client, r.fixed, unauthorized)
		if err != nil {
			return grant{}, err
		}
		g := grant{Token: y.token, Since: now, Variables: y.variables}
		if y.expires > 0 {
			g.Expires = now.Add(y.expires)
		}
		return g, nil
	}
}
