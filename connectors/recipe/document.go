package recipe

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"raffsync/connectors/rules"
)

// document is a recipe as it is written. The tables below are the format: they read it,
// and [Fields] describes it.
type document struct {
	path string // where it is written: "recipe"

	name, documentation string
	url                 string
	settings            []setting // by name
	auth                []way
	headers             map[string]string
	limits              Limits
	idempotent          *bool
	window              time.Duration
	key                 keyForm
	rules, answers      json.RawMessage
	check               *callDocument
	calls               []callDocument // by name
}

// setting is what a recipe wants to know from its user.
type setting struct {
	name, doc, otherwise       string
	required, secret, fallback bool
}

// Limits are what a platform bears, as its recipe says. What is zero it does not say.
type Limits struct {
	Concurrency int
	// Rate is as "8/s", Quota as "5000/day".
	Rate, Quota string
	Burst       int
	// Timeout is of one request.
	Timeout time.Duration
}

// keyForm is how the idempotency key travels.
type keyForm struct {
	header, format string
	length         int
}

// callDocument is a call as it is written.
type callDocument struct {
	name, path string

	documentation  string
	method, url    string
	query, headers map[string]string
	encoding       string
	graphql        string
	mapping        json.RawMessage
	rules, answers json.RawMessage
	receipt        receiptDocument
	find           *findDocument
	update         *callDocument
	repeatable     bool
	needsExisting  bool
}

type receiptDocument struct {
	id, url string
	fields  map[string]string
}

type findDocument struct {
	callDocument
	found, absent json.RawMessage
	whole         json.RawMessage
	items         string
	where         map[string]string
	receipt       *receiptDocument
}

var (
	settingName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	callName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

const (
	template    = "a text, with CEL as ${…}"
	place       = "a JSON path ($.r.id), or a text with CEL as ${body.r.id}"
	maxSettings = 32
)

var recipeFields = []field[document]{
	{
		rules.Setting{Name: "name", Takes: "one line of text", Fallback: "the destination's", Doc: "What the platform is called."},
		func(p *problems, path string, raw json.RawMessage, d *document) { d.name = p.line(path, raw, maxLine) },
	},
	{
		rules.Setting{Name: "documentation", Takes: "a text", Fallback: "none", Doc: "What it does, what of it was not verified, where its sources are."},
		func(p *problems, path string, raw json.RawMessage, d *document) {
			d.documentation = p.text(path, raw, maxText)
		},
	},
	{
		rules.Setting{
			Name: "url", Takes: "an https URL", Required: true,
			Doc: "What every call's `url` is below. It may hold `${settings.NAME}` and, where the platform says at sign-in which host serves the account, `${auth.NAME}`: never anything of an event, so no payload changes the host.",
		},
		func(p *problems, path string, raw json.RawMessage, d *document) { d.url = p.line(path, raw, maxText) },
	},
	{
		rules.Setting{Name: "settings", Takes: "a mapping of names", Fallback: "none", Inside: described(settingFields), Named: true, Doc: "What it wants to know from its user, who says so under `settings` of the destination."},
		readSettingDocuments,
	},
	{
		rules.Setting{Name: "auth", Takes: "a mapping with a kind, or a list of them", Fallback: "none", Doc: "How requests are authorised: what `auth` of the destination begins with. Of several ways, the user's `kind` picks one; the first is that of users who say none. Kinds are none, api_key, basic, hmac, oauth2_client_credentials, oauth2_authorization_code, session, odoo and tryton; package connectors/auth says what each takes."},
		readWays,
	},
	{
		rules.Setting{Name: "headers", Takes: "a mapping of headers to texts, with CEL as ${…}", Fallback: "none", Doc: "Of every call. The place for a secret setting, as `Bearer ${settings.token}`."},
		func(p *problems, path string, raw json.RawMessage, d *document) {
			d.headers = p.texts(path, raw, maxText)
		},
	},
	{
		rules.Setting{Name: "limits", Takes: "a mapping", Fallback: "those of any destination", Inside: described(limitFields), Doc: "What the platform bears; `limits` of the destination may say less."},
		func(p *problems, path string, raw json.RawMessage, d *document) {
			object(p, path, raw, limitFields, &d.limits)
		},
	},
	{
		rules.Setting{Name: "timeout", Takes: "a duration", Fallback: "that of any destination", Doc: "Of one request."},
		func(p *problems, path string, raw json.RawMessage, d *document) {
			d.limits.Timeout = p.duration(path, raw)
		},
	},
	{
		rules.Setting{Name: "idempotent", Takes: "true or false", Fallback: "true with `idempotency_key`", Doc: "Two requests with one key have one effect."},
		func(p *problems, path string, raw json.RawMessage, d *document) {
			truth := p.truth(path, raw)
			d.idempotent = &truth
		},
	},
	{
		rules.Setting{Name: "deduplication_window", Takes: "a duration", Fallback: "for ever", Doc: "How long the platform remembers a key."},
		func(p *problems, path string, raw json.RawMessage, d *document) { d.window = p.duration(path, raw) },
	},
	{
		rules.Setting{Name: "idempotency_key", Takes: "a mapping", Fallback: "no header; `request.key` in a map or query serves too", Inside: described(keyFields), Doc: "How the key travels with each call other than GET."},
		func(p *problems, path string, raw json.RawMessage, d *document) {
			object(p, path, raw, keyFields, &d.key)
		},
	},
	{
		rules.Setting{Name: "rules", Takes: "a list of rules, as those of a destination", Fallback: "those of any recipe alone", Doc: "What answers mean. They come behind the destination's own and the call's, and before those of any recipe."},
		func(_ *problems, _ string, raw json.RawMessage, d *document) { d.rules = raw },
	},
	{
		rules.Setting{Name: "answers", Takes: "a list of recorded answers, as those of a destination", Fallback: "none", Doc: "What they are held to. A rule for success must be shown by one, and told from a failure."},
		func(_ *problems, _ string, raw json.RawMessage, d *document) { d.answers = raw },
	},
	{
		rules.Setting{Name: "check", Takes: "a call", Fallback: "it cannot be asked", Doc: "A call that shows whether the connection works and changes nothing: `raffsync check --online`."},
		func(p *problems, path string, raw json.RawMessage, d *document) {
			d.check = &callDocument{name: "check", path: path, method: http.MethodGet}
			object(p, path, raw, checkFields, d.check)
		},
	},
	{
		rules.Setting{Name: "calls", Takes: "a mapping of names to calls", Required: true, Inside: described(callFields()), Named: true, Doc: "What a step of a route can do. A route without steps makes the only one."},
		func(p *problems, path string, raw json.RawMessage, d *document) {
			found, ok := p.mapping(path, raw, "a mapping of names to calls")
			if ok && (len(found) == 0 || len(found) > maxCalls) {
				p.fail(path, "found %d calls; expected 1 to %d", len(found), maxCalls)
			}
			for _, name := range slices.Sorted(maps.Keys(found)) {
				at := below(path, name)
				if !callName.MatchString(name) {
					p.fail(at, "expected a name of 1 to 63 letters, digits, dots, _ and -")
				}
				c := callDocument{name: name, path: at, method: http.MethodPost}
				object(p, at, found[name], callFields(), &c)
				d.calls = append(d.calls, c)
			}
		},
	},
}

var settingFields = []field[setting]{
	{
		rules.Setting{Name: "doc", Takes: "one line of text", Required: true, Doc: "What it is, for people."},
		func(p *problems, path string, raw json.RawMessage, s *setting) { s.doc = p.line(path, raw, maxLine) },
	},
	{
		rules.Setting{Name: "required", Takes: "true or false", Fallback: "true, unless it has a default", Doc: "It must be there."},
		func(p *problems, path string, raw json.RawMessage, s *setting) { s.required = p.truth(path, raw) },
	},
	{
		rules.Setting{Name: "default", Takes: "a text", Fallback: "none", Doc: "What it is where it is left out."},
		func(p *problems, path string, raw json.RawMessage, s *setting) {
			s.otherwise, s.fallback = p.line(path, raw, maxText), true
		},
	},
	{
		rules.Setting{Name: "secret", Takes: "true or false", Fallback: "false", Doc: "It is a secret: the user gives a reference (env:, file:), and it may stand in headers alone."},
		func(p *problems, path string, raw json.RawMessage, s *setting) { s.secret = p.truth(path, raw) },
	},
}

func readSettingDocuments(p *problems, path string, raw json.RawMessage, d *document) {
	found, ok := p.mapping(path, raw, "a mapping of names to settings")
	if ok && len(found) > maxSettings {
		p.fail(path, "found %d settings; expected at most %d", len(found), maxSettings)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		at := below(path, name)
		if !settingName.MatchString(name) {
			p.fail(at, "expected a name of 1 to 63 lower-case letters, digits and _, a letter first")
		}
		s := setting{name: name, required: !strings.Contains(string(found[name]), `"default"`)}
		object(p, at, found[name], settingFields, &s)
		switch {
		case s.secret && s.fallback:
			p.fail(at, "is a secret with a default; leave one of them out")
		case s.required && s.fallback:
			p.fail(at, "is required and has a default; leave one of them out")
		}
		d.settings = append(d.settings, s)
	}
}

var limitFields = []field[Limits]{
	{
		rules.Setting{Name: "concurrency", Takes: "a whole number, 1 to 1000", Fallback: "that of any destination", Doc: "The most requests in flight at once."},
		func(p *problems, path string, raw json.RawMessage, l *Limits) {
			l.Concurrency = p.whole(path, raw, 1, 1000)
		},
	},
	{
		rules.Setting{Name: "rate", Takes: "a number, a slash and s, m or h, as 8/s", Fallback: "no limit", Doc: "The most requests in a unit of time."},
		func(p *problems, path string, raw json.RawMessage, l *Limits) {
			l.Rate = p.pattern(path, raw, ratePattern, "a number, a slash and s, m or h, as 8/s")
		},
	},
	{
		rules.Setting{Name: "burst", Takes: "a whole number, 1 to 10000", Fallback: "that of any destination", Doc: "How many the rate lets go at once after a rest."},
		func(p *problems, path string, raw json.RawMessage, l *Limits) {
			l.Burst = p.whole(path, raw, 1, 10_000)
		},
	},
	{
		rules.Setting{Name: "quota", Takes: "a number, a slash and hour, day or month, as 5000/day", Fallback: "no limit", Doc: "The most requests in an hour, day or month."},
		func(p *problems, path string, raw json.RawMessage, l *Limits) {
			l.Quota = p.pattern(path, raw, quotaPattern, "a number, a slash and hour, day or month, as 5000/day")
		},
	},
}

var (
	ratePattern  = regexp.MustCompile(`^[1-9][0-9]{0,8}/[smh]$`)
	quotaPattern = regexp.MustCompile(`^[1-9][0-9]{0,11}/(hour|day|month)$`)
)

func (p *problems) pattern(path string, raw json.RawMessage, pattern *regexp.Regexp, takes string) string {
	text, _ := scalar(raw)
	if !pattern.MatchString(text) {
		p.fail(path, "expected %s", takes)
	}
	return text
}

var keyFields = []field[keyForm]{
	{
		rules.Setting{Name: "header", Takes: "the name of a header", Required: true, Doc: "The header that carries it."},
		func(p *problems, path string, raw json.RawMessage, k *keyForm) {
			if k.header = p.line(path, raw, 100); k.header != "" {
				p.headerName(path, k.header)
			}
		},
	},
	{
		rules.Setting{Name: "length", Takes: "a whole number, 16 to 64", Fallback: "64", Doc: "The most digits of it that the platform takes."},
		func(p *problems, path string, raw json.RawMessage, k *keyForm) { k.length = p.whole(path, raw, 16, 64) },
	},
	{
		rules.Setting{Name: "format", Takes: "hex, uuid or quoted", Fallback: "hex", Doc: "Hexadecimal digits; the first 32 of them as a UUID; or digits in quotes, as the IETF draft has it."},
		func(p *problems, path string, raw json.RawMessage, k *keyForm) {
			k.format = p.oneOf(path, raw, "hex", "uuid", "quoted")
		},
	},
}
