package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/hooks"
	"raffsync/outbox"
)

// Bounds of what can be set.
const (
	maxConcurrency = 1000
	maxBurst       = 10_000
	// A request ends before the lease under which it was sent does: 15 s, renewed
	// every 3 s, less a margin of 2 s.
	maxTimeout = 10 * time.Second
	maxAge     = 90 * 24 * time.Hour
)

// rootFields are the fields of a file. Defaults are what f holds already.
func rootFields(f *File, kinds connectors.Registry) []field {
	c := &f.Configuration
	return []field{
		name("tenant", &c.Tenant, "the name of a tenant", "The business that sources, destinations and routes belong to.").demanded(),
		section("listen", "Where the process listens. Loopback only: beyond it only with TLS and authentication.", []field{
			address("http", &f.Listen.HTTP, "Console, GraphQL, health."),
			address("grpc", &f.Listen.GRPC, "Streams of connectors."),
			addressOrOff("metrics", &f.Listen.Metrics, DefaultMetrics, "Metrics for Prometheus, at /metrics. Where it is left out and the port is taken, another one is."),
		}),
		section("database", "Where Postgres is. Without it, the command line and the environment decide.", []field{
			databaseURL("url", &f.Database.URL, "The address of the database."),
		}),
		publicURL(&c.PublicURL),
		section("mail", "How mail is sent to teams.", mailFields(&c.Mail)),
		named("sources", "The systems that send. `{}` after the name is enough.",
			func(name string) []field { return sourceFields(&outbox.SourceConfig{}) },
			func(d *decoder, v value) {
				source := outbox.SourceConfig{Name: v.name}
				if v.name == outbox.NoticeSource {
					d.fail(v.key, v.path, "is the source of what this installation says itself; expected another name")
				}
				if v.kind() != "nothing" {
					d.object(v, sourceFields(&source))
					d.receiver(v, &source)
				}
				c.Sources = append(c.Sources, source)
			}),
		named("teams", "Who can be told of exceptions.",
			func(name string) []field { return teamFields(&outbox.TeamConfig{}) },
			func(d *decoder, v value) {
				team := outbox.TeamConfig{Name: v.name}
				d.object(v, teamFields(&team))
				c.Teams = append(c.Teams, team)
			}),
		named("outlets", "The places of the business, by the names that events have for them.",
			func(name string) []field { return outletFields(&outbox.OutletConfig{}) },
			func(d *decoder, v value) {
				outlet := outbox.OutletConfig{Name: v.name}
				if v.kind() != "nothing" {
					d.object(v, outletFields(&outlet))
				}
				c.Outlets = append(c.Outlets, outlet)
			}),
		named("destinations", "The systems that receive.",
			func(name string) []field { return destinationFields(newDestination(name), kinds, &besides{}) },
			func(d *decoder, v value) {
				destination := newDestination(v.name)
				d.destination(v, destination, kinds)
				c.Destinations = append(c.Destinations, *destination)
			}),
		named("routes", "Which events go to which destination. The order counts: for each destination the first route that matches an event wins.",
			func(name string) []field { return routeFields(newRoute(name)) },
			func(d *decoder, v value) {
				route := newRoute(v.name)
				before := len(d.problems)
				if d.object(v, routeFields(route)); len(d.problems) == before {
					d.checkRetry(v.path+".retry", route.Retry)
					d.checkEdits(v.path+".edits", route.Edits)
				}
				d.unsound[v.name] = len(d.problems) > before || !validName.MatchString(v.name)
				c.Routes = append(c.Routes, *route)
			}),
		severity(&c.Severity),
		rates(&c.Rates),
		escalation(&c.Escalation),
	}
}

func newDestination(name string) *outbox.DestinationConfig {
	return &outbox.DestinationConfig{
		Name:        name,
		Concurrency: outbox.DefaultConcurrency,
		Burst:       outbox.DefaultBurst,
		Timeout:     outbox.DefaultTimeout,
		Breaker:     outbox.DefaultBreaker,
	}
}

func newRoute(name string) *outbox.RouteConfig {
	return &outbox.RouteConfig{Name: name, OnException: outbox.Block, Retry: outbox.DefaultRetry}
}

func sourceFields(c *outbox.SourceConfig) []field {
	return []field{
		optional(duration("silent_after", &c.SilentAfter, 10*time.Second, maxAge,
			"How long it may send nothing. Then there is an exception of class SOURCE_SILENT, which resolves by itself when it sends again. What is sent again counts, a heartbeat does not."), "as long as it likes"),
		receiverSection("webhook", &c.Webhook, hooks.WebhookSettings(), "it streams over gRPC", "How its webhooks are received, at /hooks/NAME."),
		receiverSection("event", &c.Event, hooks.EventSettings(), "as the format has it", "What makes an event of a webhook: texts with ${…}, CEL over `body`, `headers` (by lower-case name), `query` and `digest`. A webhook of which no event can be made is kept, and raises an exception of class QUARANTINED."),
	}
}

// besides is what stands in a destination and is no field of what is applied.
type besides struct {
	answers json.RawMessage
	// recipe are the parts that the settings of kind "recipe" are put together from.
	recipe map[string]json.RawMessage
}

// destinationFields are the fields of a destination.
func destinationFields(c *outbox.DestinationConfig, kinds connectors.Registry, beside *besides) []field {
	b := &c.Breaker
	fields := []field{
		section("limits", "What it can bear, of all replicas together.", []field{
			integer("concurrency", &c.Concurrency, 1, maxConcurrency, "The most requests in flight at once."),
			limit("rate", (*string)(&c.Rate), "a number, a slash and s, m or h, as 8/s", "The most requests in a unit of time, evenly spaced.", func(text string) error {
				_, err := outbox.Rate(text).Every()
				return err
			}),
			integer("burst", &c.Burst, 1, maxBurst, "How many requests the rate lets go at once after a rest."),
			limit("quota", (*string)(&c.Quota), "a number, a slash and hour, day or month, as 5000/day", "The most requests in an hour, day or month of the calendar, by UTC. What does not fit waits for the next one.", func(text string) error {
				_, _, err := outbox.Quota(text).Limit()
				return err
			}),
		}),
		duration("timeout", &c.Timeout, 100*time.Millisecond, maxTimeout, "Of one request."),
		section("breaker", "When requests stop because it fails, and when they are tried again.", []field{
			duration("window", &b.Window, time.Second, time.Hour, "Length of the rolling window that failures are counted in."),
			integer("min_requests", &b.MinRequests, 1, 100_000, "Requests in the window before which it stays closed."),
			number("failure_ratio", &b.FailureRatio, 0.01, 1, "Share of failures from which it opens."),
			duration("open_for", &b.OpenFor, 100*time.Millisecond, time.Hour, "How long it stays open before a probe."),
			integer("probes", &b.Probes, 1, 100, "Successes that close it."),
		}),
		optional(duration("authorisation_probe", &c.AuthorisationProbe, 10*time.Second, maxAge,
			"How often each process tries one request while the platform has taken the authorisation away (AUTH_REVOKED) or suspended the account (ACCOUNT_STATE). One that succeeds lets everything go on."), "5m"),
	}
	fields = append(fields, outcomeRules(c), recordedAnswers(&beside.answers))
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		if name == recipeKind {
			fields = append(fields, recipeKindFields(c, beside)...)
			continue
		}
		fields = append(fields, kind(name, c))
	}
	return fields
}

func routeFields(c *outbox.RouteConfig) []field {
	r := &c.Retry
	return []field{
		list("from", &c.From, "the name of a source", "every source", "Sources whose events it takes."),
		name("to", &c.To, "the name of a destination", "Where its events go.").demanded(),
		list("types", &c.Types, "a type of event (order.created), or a prefix of one (order.*)", "every type", "Types of event that it takes."),
		mode(&c.Mode),
		text("when", &c.When, 4096, "a CEL condition, as body.total > 0", "always",
			"A condition in CEL over `event` (`id`, `type`, `ordering_key`, `outlet`, `references`, `occurred_at`) and `body`, the JSON payload."),
		text("version", &c.Version, 4096, "a version in CEL, as timestamp(body.updated_at)", "each event is sent",
			"A whole number, a text (compared byte by byte) or a time, over the same. An event that is older than one of its ordering key that this route has delivered is superseded: it is not sent."),
		choice("on_exception", &c.OnException, []outbox.OnException{outbox.Block, outbox.Pass},
			"What later events of an ordering key do while one needs action: wait, or pass."),
		section("retry", "How often, and for how long, a delivery is tried. The wait before each try is random, up to a ceiling.", []field{
			duration("initial", &r.Initial, 10*time.Millisecond, time.Hour, "The first ceiling."),
			number("factor", &r.Factor, 1, 100, "What each later ceiling is of the one before."),
			duration("cap", &r.Cap, 10*time.Millisecond, 24*time.Hour, "The highest ceiling."),
			integer("attempts", &r.Attempts, 1, 1000, "Attempts that may be spent, the first one included."),
			duration("age", &r.Age, time.Second, maxAge, "Time since the first of them after which none is started."),
		}),
		optional(duration("deliver_within", &c.DeliverWithin, time.Second, maxAge,
			"How soon a delivery is to be done, counted from acceptance. One that is not, whatever it waits for, joins the exception of class LATE of its destination, which resolves by itself when no member is open any more."), "whenever it can be"),
		steps(&c.Steps),
		exposure(&c.Exposure),
		section("edits", "What of an event's payload a person may change for one delivery that has failed. The event stays as it came.", []field{
			list("allow", &c.Edits.Allow, editPath, "nothing", "Fields that one person may change."),
			list("second_person", &c.Edits.SecondPerson, editPath, "nothing", "Fields that may be changed with the approval of another person than the one who asks: money, tax. A change of what has such a field inside needs it too."),
		}),
	}
}

// editPath is what an element of edits is.
const editPath = "a JSON pointer into the payload, as /data/items/*/sku: * is any one name or number, and what is below belongs to it"

func (d *decoder) checkEdits(path string, c outbox.EditsConfig) {
	for _, field := range []struct {
		path     string
		patterns []string
	}{{path + ".allow", c.Allow}, {path + ".second_person", c.SecondPerson}} {
		for i, pattern := range field.patterns {
			if err := outbox.CheckEditPath(pattern); err != nil {
				d.fail(d.places[element(field.path, i)], field.path, "found %q; %s", short(pattern), err)
			}
		}
	}
}

// mode leaves out what is said by saying nothing.
func mode(into *outbox.Mode) field {
	chosen := cmp.Or(*into, outbox.Live)
	f := choice("mode", &chosen, []outbox.Mode{outbox.Live, outbox.InShadow},
		"What becomes of its deliveries: they are sent; or each is prepared as it would be sent, ends at once with what would have become of it in the timeline, and nothing is sent. `raffsync shadow` adds that up. What was begun before a route went into shadow goes on.")
	decode := f.decode
	f.decode = func(d *decoder, v value) {
		decode(d, v)
		if *into = chosen; chosen == outbox.Live {
			*into = ""
		}
	}
	return f
}

func (d *decoder) checkRetry(path string, r outbox.RetryConfig) {
	if r.Cap >= r.Initial {
		return
	}
	at, given := d.places[path+".cap"]
	if !given {
		at = d.places[path+".initial"]
	}
	d.fail(at, path, "cap is %s and initial is %s; expected a cap that is no less", formatDuration(r.Cap), formatDuration(r.Initial))
}

func bounds(low, high string) string { return fmt.Sprintf("%s to %s", low, high) }
