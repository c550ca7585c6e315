package auth

import (
	"slices"
	"strings"
)

// settings are all that kinds take, for people.
var settings = []struct{ name, doc string }{
	{"key", "Reference to the key."},
	{"place", "Where the credential stands: `in` is `header`, `query`, `cookie` or `bearer`; `name`; `prefix`; `value`, where it is more than `{token}`; `encode: base64`. Left out: the header `Authorization: Bearer`."},
	{"username", "User, or a reference."},
	{"password", "Reference to the password."},
	{"secret", "Reference to the key that signs."},
	{"token", "Reference to a token that is sent as bearer besides."},
	{"algorithm", "`sha256`, `sha1` or `sha512`. Left out: `sha256`."},
	{"encoding", "Of the signature: `base64` or `hex`. Left out: `base64`."},
	{"timestamp", "`unix`, `unix_ms`, `rfc3339`, or a pattern such as `dd/MM/yyyy HH:mm:ss`. Left out: `unix`."},
	{"timezone", "Of the timestamp, as `Asia/Jakarta`. Left out: UTC."},
	{"timestamp_header", "Header that takes the timestamp."},
	{"signature_header", "Header that takes the signature."},
	{"message", "What is signed, of `{timestamp}`, `{method}`, `{path}` and `{token}`. Left out: `{timestamp}`."},
	{"authorize_url", "Where a person agrees."},
	{"token_url", "Where tokens are got."},
	{"client_id", "Id of the client, or a reference."},
	{"client_secret", "Reference to the client's secret; left out for a client that has none (`pkce`)."},
	{"client_auth", "`basic` or `body`: where id and secret stand. Left out: `basic`."},
	{"scopes", "List of scopes; many platforms give a refresh token only with one such as `offline_access`."},
	{"parameters", "More parameters of the token request, as `audience`."},
	{"authorize_parameters", "More parameters of the address where a person agrees, as `prompt`."},
	{"pkce", "`true` or `false`. Left out: `true`."},
	{"refresh_unused", "After how long a refresh token ends that is not used, as `1440h`."},
	{"refresh_ends", "How long after consent it ends in any case, as `8760h`."},
	{"warn_before", "How long before that an `AUTH_EXPIRING` exception is raised. Left out: `168h`."},
	{"url", "Address of the installation."},
	{"database", "Its database."},
	{"login", "The request that gives a session: `method` (POST), `url`, `headers`, `body` (JSON) or `form`; `token`, the path of the session in the answer, or `cookie`, its name; `require`, a path at which there must be something; `refused: {path, contains: […]}`, how a refusal looks; `variables`, paths by name; `expires`, for how long it holds."},
	{"inputs", "What the login's texts name, as `{password}`: texts or references."},
	{"headers", "More headers, with variables: `{X-Session-ID: \"{session}\"}`."},
	{"after", "List of requests, as `login`, that are made with the credential and yield variables; `expires` is how long these hold."},
}

// Reference is what the settings may hold, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| field | kinds | |\n|---|---|---|\n| `kind` | | One of `" + strings.ReplaceAll(kinds(), ", ", "`, `") + "`. |\n")
	for _, s := range settings {
		var of []string
		for _, kind := range strings.Split(kinds(), ", ") {
			if slices.Contains(takes[kind], s.name) {
				of = append(of, kind)
			}
		}
		b.WriteString("| `" + s.name + "` | " + strings.Join(of, ", ") + " | " + s.doc + " |\n")
	}
	return b.String()
}
