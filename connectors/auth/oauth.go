package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"raffsync/connectors/egress"
)

// oauth is a client of an OAuth 2 authorisation server (RFC 6749).
type oauth struct {
	client              *egress.Client
	authorizeURL        string
	tokenURL            string
	id                  string
	secret              func() string // "" where the client has none
	inBody              bool          // the client is authenticated in the body, not by Basic
	scopes              []string
	parameters          map[string]string // of the token request
	authorizeParameters map[string]string
	pkce                bool
	refreshUnused       time.Duration // a refresh token that is not used ends after that
	refreshEnds         time.Duration // it ends so long after consent, used or not
	warnBefore          time.Duration
}

const defaultWarnBefore = 7 * 24 * time.Hour

func (r *reader) oauth(d document, client *egress.Client) *oauth {
	o := &oauth{
		client: client, authorizeURL: d.AuthorizeURL, tokenURL: d.TokenURL,
		id: r.text("client_id", d.ClientID), scopes: d.Scopes,
		parameters: d.Parameters, authorizeParameters: d.AuthorizeParameters, pkce: d.PKCE == nil || *d.PKCE,
		refreshUnused: r.duration("refresh_unused", d.RefreshUnused), refreshEnds: r.duration("refresh_ends", d.RefreshEnds),
		warnBefore: r.duration("warn_before", d.WarnBefore),
	}
	r.address("token_url", d.TokenURL)
	if d.Kind == kindCode {
		r.address("authorize_url", d.AuthorizeURL)
	}
	var secret string
	if d.ClientSecret != "" || d.Kind == kindCredentials {
		secret = r.secret("client_secret", d.ClientSecret)
	} else if !o.pkce {
		r.failf("client_secret", "is missing; a client without a secret needs pkce")
	}
	o.secret = func() string { return secret }
	o.inBody = r.oneOf("client_auth", d.ClientAuth, "basic", "basic", "body") == "body" || secret == ""
	if o.warnBefore == 0 {
		o.warnBefore = defaultWarnBefore
	}
	return o
}

// consentURL is where a person agrees.
func (o *oauth) consentURL(redirect, state, challenge string) string {
	u, err := url.Parse(o.authorizeURL)
	if err != nil {
		panic(err) // it was checked
	}
	q := u.Query()
	for name, value := range o.authorizeParameters {
		q.Set(name, value)
	}
	q.Set("response_type", "code")
	q.Set("client_id", o.id)
	q.Set("redirect_uri", redirect)
	q.Set("state", state)
	if len(o.scopes) > 0 {
		q.Set("scope", strings.Join(o.scopes, " "))
	}
	if o.pkce {
		q.Set("code_challenge", challenge)
		q.Set("code_challenge_method", "S256")
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func (o *oauth) exchange(ctx context.Context, code, redirect, verifier string, now time.Time) (grant, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}}
	if o.pkce {
		form.Set("code_verifier", verifier)
	}
	g, err := o.ask(ctx, form, now)
	if err != nil {
		return grant{}, err
	}
	g.Consent = now
	return o.dated(g, grant{}), nil
}

// refresh uses the refresh token. Where the answer holds no new one, the old one stays.
func (o *oauth) refresh(ctx context.Context, old grant, now time.Time) (grant, error) {
	g, err := o.ask(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.Refresh}}, now)
	if err != nil {
		return grant{}, err
	}
	g.Consent = old.Consent
	if g.Refresh == "" {
		g.Refresh = old.Refresh
	}
	return o.dated(g, old), nil
}

func (o *oauth) credentials(ctx context.Context, now time.Time) (grant, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(o.scopes) > 0 {
		form.Set("scope", strings.Join(o.scopes, " "))
	}
	g, err := o.ask(ctx, form, now)
	g.Refresh, g.RenewBy = "", time.Time{} // the client needs none (RFC 6749, 4.4.3)
	return g, err
}

// dated says when the refresh token ends, as far as the settings know: the platform's own
// word is there already.
func (o *oauth) dated(g, old grant) grant {
	if g.Refresh == "" || !g.RenewBy.IsZero() {
		return g
	}
	switch {
	case o.refreshEnds > 0:
		g.RenewBy = g.Consent.Add(o.refreshEnds)
	case o.refreshUnused > 0:
		g.RenewBy = g.Since.Add(o.refreshUnused)
	case g.Refresh == old.Refresh:
		g.RenewBy = old.RenewBy
	}
	return g
}

// ask makes one request to the token endpoint.
func (o *oauth) ask(ctx context.Context, form url.Values, now time.Time) (grant, error) {
	for name, value := range o.parameters {
		if !form.Has(name) {
			form.Set(name, value)
		}
	}
	if o.inBody {
		form.Set("client_id", o.id)
		if secret := o.secret(); secret != "" {
			form.Set("client_secret", secret)
		}
	}
	request, err := http.NewRequest(http.MethodPost, o.tokenURL, bytes.NewReader([]byte(form.Encode())))
	if err != nil {
		return grant{}, &Error{Kind: revoked, Reason: "token endpoint: no request can be made of its URL"}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	if !o.inBody { // encoded first: RFC 6749, 2.3.1
		request.SetBasicAuth(url.QueryEscape(o.id), url.QueryEscape(o.secret()))
	}
	response, err := o.client.Do(ctx, request)
	if err != nil {
		return grant{}, unreachable("token endpoint", err)
	}
	return readToken(response.Status, response.Body, response.Truncated, now)
}

// tokenAnswer is RFC 6749, 5.1 and 5.2, with the names that platforms have for when a
// refresh token ends.
type tokenAnswer struct {
	AccessToken   string  `json:"access_token"`
	RefreshToken  string  `json:"refresh_token"`
	ExpiresIn     seconds `json:"expires_in"`
	RefreshIn     seconds `json:"refresh_token_expires_in"`
	RefreshInQBO  seconds `json:"x_refresh_token_expires_in"`
	RefreshInKeyc seconds `json:"refresh_expires_in"`
	Error         code    `json:"error"`
}

// seconds are a number, or a text with one; anything else is taken for none.
type seconds time.Duration

func (s *seconds) UnmarshalJSON(raw []byte) error {
	text := strings.Trim(string(raw), `"`)
	n, err := strconv.ParseFloat(text, 64)
	if err == nil && n > 0 && n < 100*365*24*3600 {
		*s = seconds(n * float64(time.Second))
	}
	return nil
}

// code is an error code: one of a fixed form, so that nothing else of an answer is quoted.
type code string

var errorCode = regexp.MustCompile(`^[A-Za-z][A-Za-z_]{0,39}$`)

func (c *code) UnmarshalJSON(raw []byte) error {
	var text string
	switch json.Unmarshal(raw, &text) {
	case nil:
		if text == "" {
			return nil
		}
		*c = "unreadable"
		if errorCode.MatchString(text) {
			*c = code(text)
		}
	default:
		if string(raw) != "null" && string(raw) != "false" {
			*c = "unreadable"
		}
	}
	return nil
}

// lasting are the codes that only a person can mend. Others are tried again.
var lasting = map[code]string{
	"invalid_grant":          "the grant has ended or was revoked",
	"invalid_client":         "client id or client secret are wrong",
	"unauthorized_client":    "the client may not ask for this",
	"unsupported_grant_type": "the platform does not know this kind of grant",
	"invalid_scope":          "the scopes are wrong",
	"invalid_request":        "the platform does not understand the request",
	"access_denied":          "access was denied",
}

// readToken makes of an answer a grant. An error is looked for first, whatever the status.
func readToken(status int, body []byte, cut bool, now time.Time) (grant, error) {
	var a tokenAnswer
	err := json.Unmarshal(body, &a)
	if err != nil {
		a = tokenAnswer{}
	}
	why, lasts := lasting[a.Error]
	at := fmt.Sprintf("token endpoint: status %d", status)
	switch {
	case status >= 500 || status == http.StatusTooManyRequests:
		return grant{}, &Error{Kind: transient, Reason: at, unknown: status >= 500}
	case lasts:
		return grant{}, &Error{Kind: revoked, Reason: fmt.Sprintf("%s, %s: %s", at, a.Error, why)}
	case a.Error != "":
		return grant{}, &Error{Kind: transient, Reason: fmt.Sprintf("%s, error %s", at, a.Error)}
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusBadRequest:
		return grant{}, &Error{Kind: revoked, Reason: at}
	case status < 200 || status >= 300:
		return grant{}, &Error{Kind: transient, Reason: at}
	case err != nil || cut:
		return grant{}, &Error{Kind: transient, Reason: at + ", and no JSON that can be read", unknown: true}
	case a.AccessToken == "" || !isHeaderText(a.AccessToken) || !isHeaderText(a.RefreshToken):
		return grant{}, &Error{Kind: transient, Reason: at + ", and no access token", unknown: true}
	}
	g := grant{Token: a.AccessToken, Refresh: a.RefreshToken, Since: now}
	if a.ExpiresIn > 0 {
		g.Expires = now.Add(time.Duration(a.ExpiresIn))
	}
	for _, in := range []seconds{a.RefreshIn, a.RefreshInQBO, a.RefreshInKeyc} {
		if in > 0 && a.RefreshToken != "" {
			g.RenewBy = now.Add(time.Duration(in))
		}
	}
	return g, nil
}
