// Package auth adds to a destination's requests what its platform wants to see before it
// answers: keys, signatures, tokens, sessions; and renews what ends.
//
// # Kinds
//
// The settings are an object with a kind. Secrets stand in them as references (env:NAME,
// file:PATH); ids and users may. [Reference] lists every setting.
//
//	none                       nothing
//	api_key                    key, as a bearer token, or where place says
//	basic                      username, password
//	hmac                       a timestamp, and its signature by secret; token as bearer
//	oauth2_client_credentials  token_url, client_id, client_secret, scopes
//	oauth2_authorization_code  the same, authorize_url, and a person who agrees once
//	session                    login: a request whose answer gives a session
//	odoo, tryton               the session of these two: url, database, username, password
//
// Where the platform wants more than the token, calls after it yield variables: the host
// that serves an account, a second session. They are kept with the token.
//
//	auth:
//	  kind: oauth2_authorization_code
//	  authorize_url: https://account.accurate.id/oauth/authorize
//	  token_url: https://account.accurate.id/oauth/token
//	  client_id: env:ACCURATE_ID
//	  client_secret: env:ACCURATE_SECRET
//	  scopes: [sales_invoice_save]
//	  after:
//	    - {method: GET, url: "https://account.accurate.id/api/db-list.do", require: s, variables: {database: d.0.id}}
//	    - {method: GET, url: "https://account.accurate.id/api/open-db.do?id={database}", require: s, variables: {host: host, session: session}}
//	  headers: {X-Session-ID: "{session}"}
//
// In texts of calls, headers and place, {name} stands for a variable of an earlier call or
// an input of the session, and {token} for the token. Paths into answers are names and
// indexes with dots: d.0.id.
//
// # Renewing
//
// What ends is renewed ahead of its end, by a margin that differs between replicas, while
// what is there is still used; and at once after [Authenticator.Rejected]. However many
// requests wait, one of a process renews, and one of all replicas: it holds a claim in the
// [Store], which the others wait for. The token that a late 401 is about is compared, so
// that it does not cause a second renewal.
//
// A renewal may rotate the refresh token, so its answer must not get lost. It belongs to
// no caller, whose time may be over; the claim is durable before the request; the answer
// is saved before anything else is done, for as long as the database takes; a store that
// is closed waits for it. If all that fails (the machine dies between the platform's
// answer and its keeping), the next one tries the old refresh token again, which many
// platforms take for a while (Xero: 30 minutes), and says in its error that an answer was
// lost where they do not.
//
// # What errors become
//
//	invalid_grant, invalid_client, a refused login, nothing connected   AUTH_REVOKED
//	no answer, time-out, 5xx, 429, an answer that can't be read         TRANSIENT
//
// An OAuth error is looked for whatever the status: platforms send it with 200. Errors are
// made of a fixed vocabulary and quote neither settings nor answers. A token endpoint in
// trouble is asked again after 1 s, doubled up to 30 s, however many requests fail
// meanwhile.
//
// # What stands in no refresh token
//
// refresh_unused says after how long an unused refresh token ends (Xero: 1440h),
// refresh_ends how long after consent it does in any case. Platforms that say so
// themselves (refresh_token_expires_in) are believed. [Connector.Keep] renews what nobody
// uses at half of that time, or weekly where it is not known; warn_before (168h) is when
// people are to hear that it ends nevertheless.
package auth
