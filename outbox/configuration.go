package outbox

import (
	"encoding/json"
	"time"
)

// Configuration is one tenant's sources, destinations and routes, as applied. It
// holds references to secrets, never secrets.
type Configuration struct {
	Tenant       string              `json:"tenant"`
	Sources      []SourceConfig      `json:"sources"`
	Destinations []DestinationConfig `json:"destinations"`
	Outlets      []OutletConfig      `json:"outlets,omitempty"`
	// Routes in order: for each destination the first one that matches wins.
	Routes []RouteConfig `json:"routes"`
	// Severity are rules for how much an exception matters, of which the first that holds
	// decides. Rates are what one unit of a currency counts for when exceptions are ranked;
	// 1 where none is named.
	Severity []SeverityConfig       `json:"severity,omitempty"`
	Rates    map[string]json.Number `json:"rates,omitempty"`
	// Teams are people who can be told, Escalation says who is, and of what: of the
	// policies in order, the first that matches an exception.
	Teams      []TeamConfig       `json:"teams,omitempty"`
	Escalation []EscalationConfig `json:"escalation,omitempty"`
	// Mail is by what they are written to.
	Mail MailConfig `json:"mail,omitzero"`
	// PublicURL is where people reach this installation, for the links in what they are
	// told; empty: there are none.
	PublicURL string `json:"public_url,omitempty"`
	// Draining are destinations that are named no more, and stay until what is open for
	// them has ended. No file holds them: they come from [Store.Remove].
	Draining []DrainingConfig `json:"draining,omitempty"`
}

// SourceConfig is a system that sends.
type SourceConfig struct {
	Name string `json:"name"`
	// SilentAfter is how long it may send nothing before that is an exception; 0: as
	// long as it likes.
	SilentAfter time.Duration `json:"silent_after"`
	// Webhook says how its webhooks prove whose they are, Event what makes events of them:
	// settings of package connectors/hooks. A source without Webhook streams.
	Webhook json.RawMessage `json:"webhook,omitempty"`
	Event   json.RawMessage `json:"event,omitempty"`
}

// OutletConfig is a place of the business.
type OutletConfig struct {
	Name string `json:"name"`
	// Timezone by the names of the IANA: "Asia/Jakarta".
	Timezone string `json:"timezone,omitempty"`
	// Open are its opening hours and Holidays the days on which it is closed, as
	// [raffsync/outbox/escalate.ParseHours] reads them; empty: it is always open.
	Open     string   `json:"open,omitempty"`
	Holidays []string `json:"holidays,omitempty"`
	// Team is told where a level of a policy names none.
	Team string `json:"team,omitempty"`
}

// DestinationConfig is a system that receives.
type DestinationConfig struct {
	Name string `json:"name"`
	// Kind names its connector: "webhook". Settings are that connector's.
	Kind     string          `json:"kind"`
	Settings json.RawMessage `json:"settings"`
	// Rules are its own outcome rules, a list as package connectors/rules reads it.
	Rules json.RawMessage `json:"rules,omitempty"`
	// Concurrency is the most requests in flight at once, Rate the most in a unit of time,
	// Burst how many of them may go at once after a rest, Quota the most in a period of
	// the calendar: all of them over all replicas together.
	Concurrency int           `json:"concurrency"`
	Rate        Rate          `json:"rate"`
	Burst       int           `json:"burst"`
	Quota       Quota         `json:"quota"`
	Timeout     time.Duration `json:"timeout"` // of one request, in nanoseconds
	Breaker     BreakerConfig `json:"breaker"`
	// AuthorisationProbe is how often one request is tried while the platform has taken
	// the authorisation away; 0: [DefaultAuthorisationProbe].
	AuthorisationProbe time.Duration `json:"authorisation_probe,omitempty"`
}

// BreakerConfig says when requests to a destination stop, and when they are tried
// again.
type BreakerConfig struct {
	// Window is the length of the rolling window that failures are counted in.
	Window time.Duration `json:"window"`
	// MinRequests in the window, before which it stays closed.
	MinRequests int `json:"min_requests"`
	// FailureRatio, above 0 and at most 1, from which it opens.
	FailureRatio float64 `json:"failure_ratio"`
	// OpenFor is how long it stays open before a probe; Probes is how many
	// successes close it.
	OpenFor time.Duration `json:"open_for"`
	Probes  int           `json:"probes"`
}

// RouteConfig says which events go to which destination, and how.
type RouteConfig struct {
	Name string   `json:"name"`
	From []string `json:"from"` // sources; none means each of the tenant's
	To   string   `json:"to"`
	// Types that it takes: exact names, or a prefix and ".*"; none means all.
	Types []string `json:"types"`
	// When is a CEL condition over `event` (id, type, ordering_key, outlet,
	// references, occurred_at) and `body` (the JSON payload); empty means always.
	When string `json:"when"`
	// Version is a CEL expression over the same, which gives a whole number, a text or a
	// time: an older snapshot of an ordering key is not sent once a newer one has been
	// applied. Empty: each event is sent.
	Version string `json:"version,omitempty"`
	// Mode is "live", or "shadow": its deliveries are prepared and end, and nothing is sent.
	// Empty is live.
	Mode Mode `json:"mode,omitempty"`
	// OnException says what later events of a key do while one needs action.
	OnException OnException `json:"on_exception"`
	Retry       RetryConfig `json:"retry"`
	// DeliverWithin is how soon a delivery is to be done, counted from acceptance, lest
	// it joins the LATE exception of its destination; 0: whenever it can be.
	DeliverWithin time.Duration `json:"deliver_within"`
	// Steps that a delivery goes through, in this order; none: one without a name.
	Steps []StepConfig `json:"steps,omitempty"`
	// Edits says what of an event's payload a person may change for one delivery.
	Edits EditsConfig `json:"edits,omitzero"`
	// Exposure is what a delivery is worth while it is held.
	Exposure ExposureConfig `json:"exposure,omitzero"`
}

// EditsConfig are fields of a payload, as patterns over JSON pointers: /data/items/*/sku,
// where * is any one name or number. A pattern has whatever is below it.
type EditsConfig struct {
	Allow []string `json:"allow,omitempty"`
	// SecondPerson are allowed too, with the approval of another than who asked: money, tax.
	SecondPerson []string `json:"second_person,omitempty"`
}

// StepConfig is one step of a route's deliveries.
type StepConfig struct {
	Name string `json:"name"`
	// Call names what the destination does; empty: the one thing that it does.
	Call string `json:"call,omitempty"`
	// Effect is a text with ${…} that names what the step brings about: "invoice/${body.id}".
	// Empty: the event itself.
	Effect   string   `json:"effect,omitempty"`
	IfExists IfExists `json:"if_exists,omitempty"`
	// Map is what the destination makes its request by; absent: its own serves.
	Map json.RawMessage `json:"map,omitempty"`
}

// IfExists says what becomes of a step whose effect is there already: "skip", "update"
// or "exception".
type IfExists string

const (
	SkipExisting   IfExists = "skip"
	UpdateExisting IfExists = "update"
	RaiseExisting  IfExists = "exception"
)

// Mode is "live" or "shadow".
type Mode string

const (
	Live     Mode = "live"
	InShadow Mode = "shadow"
)

// OnException is "block" or "pass".
type OnException string

const (
	Block OnException = "block"
	Pass  OnException = "pass"
)

// RetryConfig says how often, and for how long, a delivery is tried.
type RetryConfig struct {
	// Initial is the ceiling of the first back-off; each later ceiling is Factor
	// times the one before, up to Cap. The back-off is uniform in [0, ceiling).
	Initial time.Duration `json:"initial"`
	Factor  float64       `json:"factor"`
	Cap     time.Duration `json:"cap"`
	// Attempts that may be spent; Age since the first of them after which none is started.
	Attempts int           `json:"attempts"`
	Age      time.Duration `json:"age"`
}

// Defaults where the configuration is silent.
var (
	DefaultRetry   = RetryConfig{Initial: time.Second, Factor: 2, Cap: 5 * time.Minute, Attempts: 12, Age: 24 * time.Hour}
	DefaultBreaker = BreakerConfig{Window: 30 * time.Second, MinRequests: 10, FailureRatio: 0.5, OpenFor: 10 * time.Second, Probes: 3}
)

const (
	DefaultConcurrency = 32
	DefaultBurst       = 1
	DefaultTimeout     = 10 * time.Second
)
