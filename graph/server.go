package graph

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/complexity"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"raffsync/graph/internal/generated"
	"raffsync/outbox/view"
)

// Config of the API.
type Config struct {
	View        *view.View
	Operators   Operators
	Transitions Transitions
	Replays     Replays
	Jobs        Jobs
	Edits       Edits
	Verdicts    Verdicts
	Mappings    Mappings
	Previews    Previews
	Log         *slog.Logger
	// Development serves GraphiQL at / and lets clients read the schema, with
	// suggestions in errors.
	Development bool
	// Origins of web pages that may use the API, "https://sync.example.com"; without
	// any, only pages of the host that the request names.
	Origins []string
}

// API serves GraphQL over HTTP. [API.Run] must be under way for subscriptions.
type API struct {
	http.Handler
	hub  *hub
	stop context.CancelFunc
	base context.Context // ends when Run does: open WebSockets close
}

// New makes the API.
func New(c Config) (*API, error) {
	if c.View == nil || c.Operators == nil || c.Transitions == nil || c.Replays == nil || c.Jobs == nil || c.Edits == nil || c.Verdicts == nil || c.Mappings == nil || c.Previews == nil || c.Log == nil {
		return nil, errors.New("graph: View, Operators, Transitions, Replays, Jobs, Edits, Verdicts, Mappings, Previews and Log are needed")
	}
	a := &API{hub: newHub(c.View, c.Log)}
	a.base, a.stop = context.WithCancel(context.Background())
	r := &resolver{view: c.View, transitions: c.Transitions, replays: c.Replays, jobs: c.Jobs, edits: c.Edits, verdicts: c.Verdicts, mappings: c.Mappings, previews: c.Previews, hub: a.hub}
	server := newGraphQL(c, r, gatherFor)
	var err error
	a.Handler, err = newFront(c, server, a.base)
	return a, err
}

// Run serves the live feed until the context ends, and then closes what is open.
func (a *API) Run(ctx context.Context) error {
	defer a.stop()
	return a.hub.Run(ctx)
}

// Poke tells the live feed that something has happened. It does not wait.
func (a *API) Poke() { a.hub.Poke() }

// resolver is what all resolvers share.
type resolver struct {
	view        *view.View
	transitions Transitions
	replays     Replays
	jobs        Jobs
	edits       Edits
	verdicts    Verdicts
	mappings    Mappings
	previews    Previews
	hub         *hub
}

const (
	// sseKeepAlive and wsKeepAlive keep proxies from closing a quiet connection.
	sseKeepAlive = 15 * time.Second
	wsKeepAlive  = 20 * time.Second
	// initWithin is how long a WebSocket may take to say who it is.
	initWithin = 5 * time.Second
)

func newGraphQL(c Config, r *resolver, gather time.Duration) *handler.Server {
	schema := generated.NewExecutableSchema(generated.Config{Resolvers: r, Complexity: complexities()})
	server := handler.New(schema)
	readLimit := int64(maxBody)
	server.AddTransport(transport.Websocket{
		Implementation:   webSocket{},
		InitFunc:         initialised,
		InitTimeout:      initWithin,
		PingPongInterval: wsKeepAlive,
		PayloadReadLimit: &readLimit,
		ErrorFunc:        func(context.Context, error) {}, // a reader that has gone is nobody's trouble
	})
	server.AddTransport(transport.SSE{KeepAlivePingInterval: sseKeepAlive})
	server.AddTransport(transport.POST{})
	server.SetParserTokenLimit(maxTokens)
	if !c.Development {
		server.SetDisableSuggestion(true)
		server.SetValidationRulesFn(withoutSuggestions)
	}
	server.SetErrorPresenter(presenter(c.Log))
	server.SetRecoverFunc(recoverer(c.Log))
	server.Use(shapeLimit{introspection: c.Development}) // before the complexity, which walks what it has bounded
	server.Use(extension.FixedComplexityLimit(maxComplexity, complexity.WithFixedScalarValue(0)))
	if c.Development {
		server.Use(extension.Introspection{})
	}
	server.AroundOperations(admitOperation)
	server.AroundResponses(loading(c.View, gather))
	return server
}

// withoutSuggestions are the rules whose errors do not name what else there is.
// gqlgen swaps two of them by itself.
func withoutSuggestions() *rules.Rules {
	r := rules.NewDefaultRules()
	for loud, quiet := range map[string]core.Rule{
		rules.KnownArgumentNamesRule.Name:  rules.KnownArgumentNamesRuleWithoutSuggestions,
		rules.KnownTypeNamesRule.Name:      rules.KnownTypeNamesRuleWithoutSuggestions,
		rules.ValuesOfCorrectTypeRule.Name: rules.ValuesOfCorrectTypeRuleWithoutSuggestions,
	} {
		r.RemoveRule(loud)
		r.AddRule(quiet.Name, quiet.RuleFunc)
	}
	return r
}

func (r *resolver) Attempt() generated.AttemptResolver           { return attemptResolver{} }
func (r *resolver) Breaker() generated.BreakerResolver           { return breakerResolver{} }
func (r *resolver) Conflict() generated.ConflictResolver         { return conflictResolver{} }
func (r *resolver) Delivery() generated.DeliveryResolver         { return deliveryResolver{r} }
func (r *resolver) Destination() generated.DestinationResolver   { return destinationResolver{} }
func (r *resolver) Edit() generated.EditResolver                 { return editResolver{} }
func (r *resolver) Effect() generated.EffectResolver             { return effectResolver{} }
func (r *resolver) Event() generated.EventResolver               { return eventResolver{} }
func (r *resolver) Exception() generated.ExceptionResolver       { return exceptionResolver{r} }
func (r *resolver) Job() generated.JobResolver                   { return jobResolver{r} }
func (r *resolver) JobFailure() generated.JobFailureResolver     { return jobFailureResolver{} }
func (r *resolver) MappingGap() generated.MappingGapResolver     { return mappingGapResolver{} }
func (r *resolver) Mutation() generated.MutationResolver         { return mutationResolver{r} }
func (r *resolver) OldestOpen() generated.OldestOpenResolver     { return oldestOpenResolver{} }
func (r *resolver) Preview() generated.PreviewResolver           { return previewResolver{} }
func (r *resolver) Quarantined() generated.QuarantinedResolver   { return quarantinedResolver{} }
func (r *resolver) Query() generated.QueryResolver               { return queryResolver{r} }
func (r *resolver) Step() generated.StepResolver                 { return stepResolver{} }
func (r *resolver) Subscription() generated.SubscriptionResolver { return subscriptionResolver{r} }

func (r *resolver) MappingRevision() generated.MappingRevisionResolver {
	return mappingRevisionResolver{}
}

func (r *resolver) MappingUse() generated.MappingUseResolver       { return mappingUseResolver{} }
func (r *resolver) ShadowFinding() generated.ShadowFindingResolver { return shadowFindingResolver{} }
func (r *resolver) PreviewStep() generated.PreviewStepResolver     { return previewStepResolver{} }
func (r *resolver) PreviewChange() generated.PreviewChangeResolver { return previewChangeResolver{} }

func (r *resolver) TimelineEntry() generated.TimelineEntryResolver { return timelineEntryResolver{} }
func (r *resolver) Waiting() generated.WaitingResolver             { return waitingResolver{} }
