package recipe_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/recipe"
	"raffsync/connectors/simulator/odoo"
	"raffsync/connectors/simulator/tryton"
)

// Recipes for the two that give sessions by JSON-RPC, and say inside 200 when one has ended.
const (
	odooRecipe = `
recipe:
  url: URL
  rules:
    - {name: session, status: 200, body: {$.error.data.name: odoo.http.SessionExpiredException}, kind: AUTH_EXPIRED}
    - {name: refused, status: 200, body: {$.error: {exists: true}}, kind: VALIDATION, code: $.error.data.name}
    - {name: done, status: 200, body: {$.result: {exists: true}}, kind: DELIVERED}
    - {name: neither yes nor no, status: 2xx, kind: UNKNOWN_OUTCOME}
  answers:
    - {name: ended, status: 200, body: {error: {code: 100, data: {name: odoo.http.SessionExpiredException}}}, expect: {kind: AUTH_EXPIRED}}
    - {name: refused, status: 200, body: {error: {code: 200, data: {name: odoo.exceptions.ValidationError}}}, expect: {kind: VALIDATION, code: odoo.exceptions.ValidationError}}
    - {name: made, status: 200, body: {result: 7}, expect: {kind: DELIVERED}}
    - {name: a page, status: 200, body: "<html>", expect: {kind: UNKNOWN_OUTCOME}}
  calls:
    partner:
      url: /web/dataset/call_kw
      map: {jsonrpc: "2.0", id: 1, method: call, params: {model: res.partner, method: create, args: [{name: "${body.name}", ref: "${reference(30)}"}], kwargs: {}}}
      receipt: {id: $.result}
      find:
        method: POST
        url: /web/dataset/call_kw
        map: {jsonrpc: "2.0", id: 1, method: call, params: {model: res.partner, method: search_read, args: [[["ref", "=", "${reference(30)}"]]], kwargs: {fields: [id, ref]}}}
        found: {status: 200, body: {$.result: {exists: true}}}
        items: $.result[*]
        where: {$.ref: "${reference(30)}"}
        receipt: {id: $.id}
auth: {kind: odoo, url: URL, database: shop, username: sync, password: "env:TOKEN"}
`
	trytonRecipe = `
recipe:
  url: URL/shop
  rules:
    - {name: session, status: 200, body: {"$.error[0]": {contains: "401"}}, kind: AUTH_EXPIRED}
    - {name: refused, status: 200, body: {$.error: {exists: true}}, kind: VALIDATION, code: "$.error[0]"}
    - {name: done, status: 200, body: {$.result: {exists: true}}, kind: DELIVERED}
    - {name: neither yes nor no, status: 2xx, kind: UNKNOWN_OUTCOME}
  answers:
    - {name: ended, status: 200, body: {error: ["401 Unauthorized", ""]}, expect: {kind: AUTH_EXPIRED}}
    - {name: refused, status: 200, body: {error: [UserError, [no, "", null]]}, expect: {kind: VALIDATION, code: UserError}}
    - {name: made, status: 200, body: {result: [7]}, expect: {kind: DELIVERED}}
    - {name: a page, status: 200, body: "<html>", expect: {kind: UNKNOWN_OUTCOME}}
  calls:
    party:
      url: /
      map: {id: 1, method: model.party.party.create, params: [[{name: "${body.name}", code: "${reference(30)}"}], {}]}
      receipt: {id: "$.result[0]"}
      find:
        method: POST
        url: /
        map: {id: 1, method: model.party.party.search_read, params: [[["code", "=", "${reference(30)}"]], 0, 1, null, [id, code], {}]}
        found: {status: 200, body: {$.result: {exists: true}}}
        items: $.result[*]
        where: {$.code: "${reference(30)}"}
        receipt: {id: $.id}
auth: {kind: tryton, url: URL, database: shop, username: sync, password: "env:TOKEN"}
`
)

// sessions is a server that gives them.
type sessions interface {
	Handler() http.Handler
	Expire()
	Logins() int
	Count(model string) int
}

func newSessions(t *testing.T, s sessions, text string) connectors.Destination {
	t.Helper()
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	o := options(t, readYAML(t, []byte(strings.ReplaceAll(text, "URL", server.URL))))
	o.Connections, o.Concurrency = &auth.Memory{}, 64
	d, err := recipe.Factory(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func party(n int, name string) connectors.Step {
	return connectors.Step{
		Event:       &connectors.Event{Tenant: "kopi", Source: "shop", ID: fmt.Sprint("e-", n), Type: "customer.created", ContentType: "application/json", Data: fmt.Appendf(nil, `{"name": %q}`, name)},
		Destination: "erp", Effect: fmt.Sprint("party/", n), Attempt: 1, Key: fmt.Sprintf("%064x", n),
	}
}

// A session that ends while a hundred requests are on their way is got again once, whether
// its end is said inside 200 or by the status; nothing is there twice, and whoever asks is
// told by the new one.
func TestSessions_AreGotAgainOnce(t *testing.T) {
	for name, c := range map[string]struct {
		server sessions
		recipe string
		model  string
	}{
		"Odoo":             {odoo.New(odoo.Config{Database: "shop", Login: "sync", Password: token}), odooRecipe, "res.partner"},
		"Tryton":           {tryton.New(tryton.Config{Database: "shop", Login: "sync", Password: token}), trytonRecipe, "party.party"},
		"Tryton by status": {tryton.New(tryton.Config{Database: "shop", Login: "sync", Password: token, Status: true}), trytonRecipe, "party.party"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newSessions(t, c.server, c.recipe)
			send := func(step connectors.Step) connectors.Outcome {
				request, err := d.Prepare(step)
				if err != nil {
					t.Error(err)
				}
				return d.Send(t.Context(), request)
			}
			if o := send(party(0, "Ani ☕")); o.Kind != delivered || o.ExternalID != "1" {
				t.Fatalf("%+v", o)
			}
			if o := send(party(1, "")); o.Kind != validation || o.Code == "" {
				t.Errorf("what is refused: %+v", o)
			}
			const many = 100
			c.server.Expire()
			var expired atomic.Int32
			var sent sync.WaitGroup
			for i := range many {
				sent.Go(func() {
					for tries := 0; ; tries++ {
						switch o := send(party(10+i, "Budi")); {
						case o.Kind == delivered:
							return
						case o.Kind != authExpired || tries == 3:
							t.Errorf("%+v", o)
							return
						}
						expired.Add(1)
					}
				})
			}
			sent.Wait()
			if n := c.server.Logins(); n != 2 || expired.Load() == 0 {
				t.Errorf("%d logins, want 2; %d were told that the session had ended", n, expired.Load())
			}
			if n := c.server.Count(c.model); n != 1+many {
				t.Errorf("%d records of %d", n, 1+many)
			}
			c.server.Expire()
			request, err := d.Prepare(party(11, "Budi"))
			if err != nil {
				t.Fatal(err)
			}
			if r := d.(connectors.Reconciler).Reconcile(t.Context(), request); r.Finding != connectors.CannotTell || r.Outcome.Kind != authExpired {
				t.Errorf("asked with a session that has ended: %+v", r)
			}
			if r := d.(connectors.Reconciler).Reconcile(t.Context(), request); r.Finding != connectors.Found || r.Outcome.ExternalID == "" {
				t.Errorf("asked again: %+v", r)
			}
		})
	}
}

// A wrong password, however the server says so, is for a person.
func TestSessions_WrongPassword(t *testing.T) {
	for name, c := range map[string]struct {
		server sessions
		recipe string
	}{
		"Odoo":            {odoo.New(odoo.Config{Database: "shop", Login: "sync", Password: "another"}), odooRecipe},
		"Odoo's database": {odoo.New(odoo.Config{Database: "other", Login: "sync", Password: token}), odooRecipe},
		"Tryton":          {tryton.New(tryton.Config{Database: "shop", Login: "sync", Password: "another"}), trytonRecipe},
		"Tryton's null":   {tryton.New(tryton.Config{Database: "shop", Login: "sync", Password: "another", NullLogin: true}), trytonRecipe},
	} {
		d := newSessions(t, c.server, c.recipe)
		request, err := d.Prepare(party(1, "Ani"))
		if err != nil {
			t.Fatal(err)
		}
		if o := d.Send(t.Context(), request); o.Kind != authRevoked || strings.Contains(fmt.Sprintf("%+v", o), token) {
			t.Errorf("%s: %+v", name, o)
		}
	}
}
