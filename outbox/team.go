package outbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
)

// TeamConfig is a group of people who are told together.
type TeamConfig struct {
	Name string `json:"name"`
	// Language of what they are told: "en" or "id".
	Language string          `json:"language"`
	Notify   []AddressConfig `json:"notify"`
	// Template of the text, for package text/template; empty: the one of the language.
	Template string `json:"template,omitempty"`
}

// AddressConfig is where a team is told.
type AddressConfig struct {
	// Kind is [KindMail], [KindChat] or "webhook"; Settings are those of a destination of
	// that kind, but for the mail server.
	Kind     string          `json:"kind"`
	Settings json.RawMessage `json:"settings"`
}

// MailConfig is the server that mail is handed to.
type MailConfig struct {
	Server   string `json:"server"` // host:port
	From     string `json:"from"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"` // a reference
}

// EscalationConfig is one policy: who is told of which exceptions.
type EscalationConfig struct {
	// When is a condition as [raffsync/outbox/escalate.CompileCondition] reads it; empty:
	// every exception.
	When string `json:"when,omitempty"`
	// Clock says in which hours time counts.
	Clock Clock `json:"clock"`
	// Quiet are hours in which nobody is told, by the outlet's wall; empty: none.
	Quiet string `json:"quiet,omitempty"`
	// QuietTimezone is that of Quiet where the exception has no outlet with one.
	QuietTimezone string `json:"quiet_timezone,omitempty"`
	// IgnoreClockIf is a condition under which neither hours count.
	IgnoreClockIf string `json:"ignore_clock_if,omitempty"`
	// AcknowledgeFor is how long the link of a notice acknowledges for, LinkValid how long the
	// link can be used; zero: [DefaultAcknowledgeFor], [DefaultLinkValid].
	AcknowledgeFor time.Duration `json:"acknowledge_for,omitempty"`
	LinkValid      time.Duration `json:"link_valid,omitempty"`
	Levels         []LevelConfig `json:"levels"`
}

// Where a policy does not say.
const (
	DefaultAcknowledgeFor = 4 * time.Hour
	DefaultLinkValid      = 72 * time.Hour
)

// Clock is "always" or "outlet_hours".
type Clock string

// Clocks.
const (
	ClockAlways      Clock = "always"
	ClockOutletHours Clock = "outlet_hours"
)

// LevelConfig is one rung.
type LevelConfig struct {
	Team   string        `json:"team,omitempty"` // empty: that of the outlet
	After  time.Duration `json:"after"`
	Repeat time.Duration `json:"repeat,omitempty"`
}

// NoticeSource is the source of the events by which teams are told. No file may name it.
const NoticeSource = "raffsync"

// TypeNotice is the type of those events.
const TypeNotice = "raffsync.notice"

// ClassNoticeFailed is the class of the exception of what could not be told. Nobody is
// told of it: that would fail too.
const ClassNoticeFailed = "NOTICE_FAILED"

// Kinds of the destinations that only notices go to; signed webhooks are of the ordinary
// kind.
const (
	KindMail = "mail"
	KindChat = "chat"
)

// noticeRetry tries for a day: a mail server that is down is usually up by then.
var noticeRetry = RetryConfig{Initial: 5 * time.Second, Factor: 2, Cap: 2 * time.Minute, Attempts: 1000, Age: 24 * time.Hour}

// noticeConcurrency is polite to a mail server.
const noticeConcurrency = 4

// Destination names the internal destination of an address: the same address is the
// same one, whichever teams have it. A chat's or webhook's address is not shown whole,
// since it often is a secret.
func (a AddressConfig) Destination() string {
	var s struct{ To, URL string }
	_ = json.Unmarshal(a.Settings, &s) // looked at where it was read
	switch {
	case a.Kind == KindMail:
		return "mailto:" + s.To
	case strings.HasPrefix(s.URL, "env:"), strings.HasPrefix(s.URL, "file:"):
		return a.Kind + ":" + s.URL
	}
	host := ""
	if u, err := url.Parse(s.URL); err == nil {
		host = u.Host
	}
	sum := sha256.Sum256([]byte(s.URL))
	return a.Kind + ":" + host + "#" + hex.EncodeToString(sum[:6])
}

// IsNoticeDestination tells whether a name is one that [AddressConfig.Destination] gives:
// a name in a file has no colon.
func IsNoticeDestination(name string) bool { return strings.Contains(name, ":") }

// Notices are the destinations of every address of the teams, with a route to each: they
// are delivered to as any other, and no file names them.
func (c *Configuration) Notices() (destinations []DestinationConfig, routes []RouteConfig) {
	for _, team := range c.Teams {
		for _, address := range team.Notify {
			d := DestinationConfig{
				Name: address.Destination(), Concurrency: noticeConcurrency, Burst: DefaultBurst, Timeout: DefaultTimeout, Breaker: DefaultBreaker,
			}
			if slices.ContainsFunc(destinations, func(o DestinationConfig) bool { return o.Name == d.Name }) {
				continue
			}
			d.Kind, d.Settings = address.Kind, address.settings(c.Mail)
			destinations = append(destinations, d)
			// One that has failed is passed by the next: that may be the all-clear.
			routes = append(routes, RouteConfig{Name: d.Name, From: []string{NoticeSource}, To: d.Name, Types: []string{TypeNotice}, OnException: Pass, Retry: noticeRetry})
		}
	}
	return destinations, routes
}

// settings are those of the address's destination.
func (a AddressConfig) settings(mail MailConfig) json.RawMessage {
	if a.Kind != KindMail {
		return a.Settings
	}
	v := struct {
		MailConfig
		To string `json:"to"`
	}{MailConfig: mail}
	_ = json.Unmarshal(a.Settings, &v)
	settings, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts always marshal
	}
	return settings
}

// Team is the team of a name; nil where there is none.
func (c *Configuration) Team(name string) *TeamConfig {
	i := slices.IndexFunc(c.Teams, func(t TeamConfig) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	t := c.Teams[i]
	t.Language = cmp.Or(t.Language, "en")
	return &t
}
