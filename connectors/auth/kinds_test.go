package auth

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each fixed kind, and what stands in the request then.
func TestAuthorize_FixedKinds(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct{ name, settings, url, header, want string }{
		{"None", `{"kind":"none"}`, "", "Authorization", ""},
		{"Bearer", `{"kind":"api_key","key":"env:SECRET"}`, "", "Authorization", "Bearer " + secretText},
		{"Header", `{"kind":"api_key","key":"env:SECRET","place":{"in":"header","name":"X-Shopify-Access-Token"}}`, "", "X-Shopify-Access-Token", secretText},
		{"Query", `{"kind":"api_key","key":"env:SECRET","place":{"in":"query","name":"key"}}`, "https://example.com/a?b=1&key=" + secretText, "Authorization", ""},
		{"Basic", `{"kind":"basic","username":"env:ID","password":"env:SECRET"}`, "", "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("client:"+secretText))},
		{"HMAC", `{"kind":"hmac","secret":"env:SECRET","token":"env:SECRET","timestamp":"dd/MM/yyyy HH:mm:ss","timezone":"Asia/Jakarta","timestamp_header":"X-Api-Timestamp","signature_header":"X-Api-Signature"}`, "", "X-Api-Timestamp", "25/11/2026 10:04:05"},
		{"HMACUnix", `{"kind":"hmac","secret":"env:SECRET","encoding":"hex","timestamp_header":"X-T","signature_header":"X-S"}`, "", "X-T", "1795575845"},
		{"HMACRFC3339", `{"kind":"hmac","secret":"env:SECRET","timestamp":"rfc3339","timezone":"Asia/Jakarta","timestamp_header":"X-T","signature_header":"X-S"}`, "", "X-T", "2026-11-25T10:04:05+07:00"},
		{"Headers", `{"kind":"api_key","key":"env:SECRET","headers":{"xero-tenant-id":"t-1"}}`, "", "Xero-Tenant-Id", "t-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := build(t, nil, c.settings, func() time.Time { return at })
			r := authorized(t, a, "https://example.com/a?b=1")
			if got := r.Header.Get(c.header); got != c.want {
				t.Errorf("%s: %q, want %q", c.header, got, c.want)
			}
			if c.url != "" && r.URL.String() != c.url {
				t.Errorf("URL %s, want %s", r.URL, c.url)
			}
		})
	}
}

// The signature is over the timestamp's text, by OpenSSL's word.
func TestAuthorize_Signature(t *testing.T) {
	t.Parallel()
	at := func() time.Time { return time.Unix(1795575845, 0) }
	for settings, want := range map[string]string{
		`"algorithm":"sha256","encoding":"hex"`:    "0ea3c66972acd5ea63c3818f15b94eadec859921dac43e23b5dc80d5779f1d40",
		`"algorithm":"sha256","encoding":"base64"`: "DqPGaXKs1epjw4GPFblOreyFmSHaxD4jtdyA1XefHUA=",
		`"algorithm":"sha1","encoding":"hex"`:      "52054bf026e397e26ee741074ba6415d4b9bbb0d",
	} {
		a := build(t, nil, `{"kind":"hmac","secret":"env:SECRET","timestamp_header":"X-T","signature_header":"X-S",`+settings+`}`, at)
		if got := authorized(t, a, "https://example.com").Header.Get("X-S"); got != want {
			t.Errorf("%s: %s, want %s", settings, got, want)
		}
	}
}

// What the token endpoint sees, by kind of client authentication.
func TestOAuth_Requests(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	a := build(t, &Memory{}, p.code(), nil)
	consent, err := a.Consent("http://127.0.0.1:7/callback")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(consent.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"flavour": "x", "response_type": "code", "client_id": "client", "redirect_uri": "http://127.0.0.1:7/callback",
		"state": consent.State, "scope": "a offline_access", "code_challenge_method": "S256",
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	if _, err := a.Exchange(t.Context(), consent, "the-code"); err != nil {
		t.Fatal(err)
	}
	form := url.Values(p.forms[0])
	if form.Get("code") != "the-code" || form.Get("code_verifier") != consent.verifier || form.Get("client_secret") != "" {
		t.Errorf("form %v", form)
	}
	if user, password, _ := (&http.Request{Header: p.header[0]}).BasicAuth(); user != "client" || password != secretText {
		t.Errorf("client %q, %q", user, password)
	}

	body := strings.Replace(p.credentials(), `"scopes"`, `"client_auth":"body","parameters":{"audience":"books"},"scopes"`, 1)
	authorized(t, build(t, &Memory{}, body, nil), p.URL)
	form = p.forms[1]
	if form.Get("client_secret") != secretText || form.Get("audience") != "books" || form.Get("scope") != "a" || p.header[1].Get("Authorization") != "" {
		t.Errorf("form %v, header %v", form, p.header[1])
	}
}

// Answers that lie, and what becomes of them.
func TestOAuth_Answers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status int
		body   string
		kind   kindOf
		says   string
	}{
		{"InvalidGrant", 400, `{"error":"invalid_grant","error_description":"token-1"}`, revoked, "invalid_grant"},
		{"ErrorIn200", 200, `{"error":"invalid_grant","access_token":"token-x"}`, revoked, "invalid_grant"},
		{"OwnErrorIn200", 200, `{"error":{"message":"token-1"}}`, transient, "error unreadable"},
		{"SecretAsError", 200, `{"error":"refresh-1 is wrong"}`, transient, "error unreadable"},
		{"WrongClient", 401, `{"error":"invalid_client"}`, revoked, "client secret"},
		{"BareUnauthorized", 401, ``, revoked, "status 401"},
		{"Busy", 400, `{"error":"temporarily_unavailable"}`, transient, "temporarily_unavailable"},
		{"InTrouble", 503, `{"error":"invalid_grant"}`, transient, "status 503"},
		{"TooMany", 429, ``, transient, "status 429"},
		{"Page", 200, `<html>token-1</html>`, transient, "no JSON"},
		{"Empty", 200, `{}`, transient, "no access token"},
		{"NotAToken", 200, `{"access_token":"a\nb"}`, transient, "no access token"},
		{"List", 200, `[]`, transient, "no JSON"},
		{"Redirect", 302, ``, transient, "status 302"},
		{"Endless", 200, `{"access_token":"` + strings.Repeat("a", 80<<10) + `"}`, transient, "no JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlatform(t)
			p.says(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			e := failure(t, build(t, &Memory{}, p.credentials(), nil))
			if e.Kind != c.kind || !strings.Contains(e.Reason, c.says) {
				t.Errorf("%v: %s", e.Kind, e.Reason)
			}
		})
	}
}

// Nobody listens: that is no person's business.
func TestOAuth_Unreachable(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	settings := p.credentials()
	p.Close()
	if e := failure(t, build(t, &Memory{}, settings, nil)); e.Kind != transient || e.unknown {
		t.Errorf("%v, unknown %v: %s", e.Kind, e.unknown, e.Reason)
	}
}

// A platform whose token comes with a second session, and a host, as Accurate Online's.
func TestAfter_AccurateOnline(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	opened := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/db-list.do", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"s":`+boolean(strings.HasPrefix(r.Header.Get("Authorization"), "Bearer token-"))+`,"d":[{"id":9007199254740993,"alias":"Kopi"}]}`)
	})
	mux.HandleFunc("GET /api/open-db.do", func(w http.ResponseWriter, r *http.Request) {
		opened++
		_, _ = io.WriteString(w, `{"s":`+boolean(r.URL.Query().Get("id") == "9007199254740993")+`,"host":"https://zeus.example","session":"session-`+strings.Repeat("i", opened)+`"}`)
	})
	api := httptest.NewServer(mux)
	t.Cleanup(api.Close)
	settings := strings.TrimSuffix(p.credentials(), "}") + `,"headers":{"X-Session-ID":"{session}"},"after":[
{"method":"GET","url":"` + api.URL + `/api/db-list.do","require":"s","variables":{"database":"d.0.id"}},
{"method":"GET","url":"` + api.URL + `/api/open-db.do?id={database}","require":"s","variables":{"host":"host","session":"session"},"expires":"720h"}]}`
	store := &Memory{}
	a := build(t, store, settings, nil)
	variables, err := a.Variables(t.Context())
	if err != nil || variables["host"] != "https://zeus.example" {
		t.Fatalf("%v, %v", variables, err)
	}
	r := authorized(t, a, "https://zeus.example/accurate/api/x")
	if r.Header.Get("X-Session-ID") != "session-i" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer token-") {
		t.Errorf("%v", r.Header)
	}
	if known := a.Secrets(); !slices.Contains(known, "session-i") || !slices.Contains(known, secretText) || slices.Contains(known, "https://zeus.example") {
		t.Errorf("%v", known)
	}
	a.Rejected(t.Context(), r)
	if r := authorized(t, a, "https://zeus.example"); r.Header.Get("X-Session-ID") != "session-ii" || p.asked.Load() != 2 {
		t.Errorf("after a rejection: %v, %d tokens", r.Header, p.asked.Load())
	}
	if kept, _ := store.Load(t.Context()); kept.Version != 4 {
		t.Errorf("version %d, want token, session, token, session", kept.Version)
	}
}

func boolean(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// A session that is got by a login, in Odoo's and Tryton's way, and got again when it is
// rejected; a wrong password inside 200.
func TestSession(t *testing.T) {
	t.Parallel()
	logins, wrong := 0, false
	mux := http.NewServeMux()
	mux.HandleFunc("POST /web/session/authenticate", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Params struct{ DB, Login, Password string }
		}
		if json.NewDecoder(r.Body).Decode(&q) != nil || q.Params.DB != "shop" || q.Params.Password != secretText || wrong {
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","error":{"code":200,"data":{"name":"odoo.exceptions.AccessDenied","message":"`+secretText+`"}}}`)
			return
		}
		logins++
		http.SetCookie(w, &http.Cookie{Name: "session_id", Value: "s" + strings.Repeat("i", logins)})
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","result":{"uid":2}}`)
	})
	mux.HandleFunc("POST /shop/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if wrong || string(body) != `{"id":0,"method":"common.db.login","params":["client",{"password":"`+secretText+`"},"en"]}` {
			_, _ = io.WriteString(w, `{"id":0,"result":null}`)
			return
		}
		_, _ = io.WriteString(w, `{"id":0,"result":[7,"t-session"]}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	rest := `","url":"` + server.URL + `","database":"shop","username":"env:ID","password":"env:SECRET"}`

	odoo := build(t, &Memory{}, `{"kind":"odoo`+rest, nil)
	r := authorized(t, odoo, server.URL)
	if c, err := r.Cookie("session_id"); err != nil || c.Value != "si" {
		t.Errorf("cookie %v, %v", c, err)
	}
	odoo.Rejected(t.Context(), r)
	if c, err := authorized(t, odoo, server.URL).Cookie("session_id"); err != nil || c.Value != "sii" {
		t.Errorf("cookie after a rejection %v, %v", c, err)
	}
	tryton := build(t, &Memory{}, `{"kind":"tryton`+rest, nil)
	want := "Session " + base64.StdEncoding.EncodeToString([]byte("client:7:t-session"))
	if got := authorized(t, tryton, server.URL).Header.Get("Authorization"); got != want {
		t.Errorf("%q, want %q", got, want)
	}

	wrong = true
	for _, kind := range []string{"odoo", "tryton"} {
		if e := failure(t, build(t, &Memory{}, `{"kind":"`+kind+rest, nil)); e.Kind != revoked {
			t.Errorf("%s: %v: %s", kind, e.Kind, e.Reason)
		}
	}
}

// Settings that are wrong, and what is said of them.
func TestNew_Wrong(t *testing.T) {
	t.Parallel()
	for settings, says := range map[string]string{
		`[]`:                              "must be an object",
		`{"kind":"oauth"}`:                "not known; expected one of none, api_key",
		`{"kind":"basic","key":"env:ID"}`: "takes no \"key\"",
		`{"kind":"basic","nope":1}`:       "no setting \"nope\"",
		`{"kind":"api_key","key":"` + secretText + `"}`:                                                                  "not the secret itself",
		`{"kind":"api_key","key":"env:NONE"}`:                                                                            "env:NONE is not set",
		`{"kind":"api_key","key":{"hush":"` + secretText + `"}}`:                                                         "auth: key: is of the wrong type",
		`{"kind":"api_key","key":"env:ID","place":{"in":"body"}}`:                                                        "expected one of header, query, cookie, bearer",
		`{"kind":"hmac","secret":"env:ID"}`:                                                                              "auth: timestamp_header: is missing",
		`{"kind":"hmac","secret":"env:ID","timestamp":"soon","timestamp_header":"a","signature_header":"b"}`:             "dd/MM/yyyy",
		`{"kind":"oauth2_client_credentials","token_url":"http://example.com","client_id":"a","client_secret":"env:ID"}`: "must be https",
		`{"kind":"session","inputs":{}}`:                                                                                 "auth: login: is missing",
		`{"kind":"session","login":{"url":"https://example.com"}}`:                                                       "either token",
		`{"kind":"odoo","username":"a","password":"env:ID","database":"b"}`:                                              "auth: url: is missing",
	} {
		_, err := New(Config{Settings: json.RawMessage(settings), Secret: resolve})
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), secretText) {
			t.Errorf("%s: %v, want %s", settings, err, says)
		}
	}
}

func FuzzReadToken(f *testing.F) {
	for _, seed := range []string{`{"access_token":"a","expires_in":"3600"}`, `{"error":"invalid_grant"}`, `{"access_token":"a","expires_in":1e300}`, `{"error":["x"]}`, `[`, `{"expires_in":-1,"access_token":"b","refresh_token":"c","refresh_token_expires_in":5}`} {
		f.Add(200, []byte(seed))
		f.Add(400, []byte(seed))
	}
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		g, err := readToken(status, body, false, now)
		switch {
		case err == nil && (g.Token == "" || status < 200 || status > 299 || !g.Expires.IsZero() && !g.Expires.After(now)):
			t.Fatalf("status %d gave %+v", status, g)
		case err != nil && len(err.Error()) > 200:
			t.Fatalf("the error quotes the answer: %s", err)
		case err == nil && !isHeaderText(g.Token+g.Refresh):
			t.Fatalf("%q, %q", g.Token, g.Refresh)
		}
	})
}

func FuzzFind(f *testing.F) {
	f.Add(`{"d":[{"id":1}]}`, "d.0.id")
	f.Add(`[[[]]]`, "0.0.-1")
	f.Add(`{"":{"":"x"}}`, ".")
	f.Fuzz(func(t *testing.T, body, path string) {
		tree, err := decodeJSON([]byte(body))
		if err != nil {
			return
		}
		if text, ok := textAt(tree, path); ok && (text == "" || !isHeaderText(text)) {
			t.Fatalf("%q at %q", text, path)
		}
		isTrue(tree, path)
	})
}

func FuzzExpand(f *testing.F) {
	f.Add("{a}{b}{{a}", "x{b}")
	f.Fuzz(func(t *testing.T, text, value string) {
		got := expand(text, map[string]string{"a": value})
		if !strings.Contains(text, "{a}") && got != text {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
