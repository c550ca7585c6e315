package recipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/egress"
)

// longestRequest is for whoever sends without a deadline; the dispatcher's is shorter.
const longestRequest = time.Minute

// Factory builds a destination of kind "recipe". It compiles and checks the recipe with
// its recorded answers, resolves the secrets and opens nothing; its error joins an [*Error]
// for each thing that is wrong. It is a [connectors.Factory].
func Factory(o connectors.Options) (connectors.Destination, error) {
	p := &problems{}
	given := readGiven(p, o.Settings)
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	d, c, err := build(given, o)
	if err != nil {
		return nil, err
	}
	if d.client, err = egress.New(egress.Config{
		Timeout: longestRequest, MaxBody: maxAnswer,
		// One that waited for a connection would time out at a healthy platform.
		MaxConnsPerHost: max(o.Concurrency, egress.DefaultMaxConnsPerHost),
		AllowLoopback:   o.AllowLoopback, AllowHTTP: o.AllowLoopback,
	}); err != nil {
		return nil, err
	}
	if err := errors.Join(append(c.unresolved, d.authenticate(given, c.d, o))...); err != nil {
		return nil, err
	}
	if c.asks() {
		return &askable{d}, nil
	}
	return d, nil
}

// build compiles a recipe with the user's settings.
func build(given *given, o connectors.Options) (*destination, *compiler, error) {
	c := &compiler{d: given.recipe, settings: given.recipe.settings, own: o.Rules}
	env, err := environment()
	if err != nil {
		return nil, nil, fmt.Errorf("set up expressions: %w", err)
	}
	c.env = env
	c.resolve(given.settings, o.Secret)
	c.traits = c.readTraits()
	d := &destination{
		name: o.Name, title: c.d.name, visible: c.visible, settings: c.settings, key: c.d.key, traits: c.traits, now: time.Now,
		calls: map[string]*call{}, base: c.base(o.AllowLoopback),
	}
	for i := range c.d.calls {
		made := c.call(&c.d.calls[i])
		d.calls[made.name] = made
	}
	if c.d.check != nil {
		d.check = c.check(c.d.check)
	}
	c.checkKeys(d.calls)
	c.checkQuestions(d.calls)
	c.checkAnswers(d)
	if len(c.errs) > 0 {
		return nil, nil, errors.Join(c.errs...)
	}
	d.secrets = func() []string {
		var all []string
		for _, s := range c.secrets {
			all = append(all, s.reveal())
		}
		return all
	}
	d.only = d.onlyCall()
	return d, c, nil
}

// destination is immutable. What may be secret is behind functions, for the reason that
// [secret] gives.
type destination struct {
	name, title string
	base        base
	settings    []setting
	visible     map[string]string
	secrets     func() []string
	key         keyForm
	traits      connectors.Traits
	calls       map[string]*call
	only        *plan // of the only call that a route without steps can mean; nil where there are several
	check       *call
	client      *egress.Client
	auth        auth.Connector
	now         func() time.Time
}

// askable is a destination whose platform can be asked.
type askable struct{ *destination }

// Traits implements [connectors.Destination]: what the recipe declares.
func (d *destination) Traits() connectors.Traits { return d.traits }

// Format prints no more than the names.
func (d *destination) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "recipe "+d.title+" for "+d.name)
}

// Check implements [connectors.Checker].
func (d *destination) Check(ctx context.Context) error {
	if d.check == nil {
		return fmt.Errorf("the recipe has no check: %w", connectors.ErrNoCheck)
	}
	r, err := d.rendered(d.check, d.check.template, &connectors.Step{Event: &connectors.Event{}, Destination: d.name})
	if err != nil {
		return err
	}
	x := d.exchange(ctx, r)
	if x.Kind == delivered {
		return nil
	}
	kind := strings.TrimPrefix(x.Kind.String(), "OUTCOME_KIND_")
	if x.Excerpt != "" {
		return fmt.Errorf("%s: %s: %s", kind, x.Reason, x.Excerpt)
	}
	return fmt.Errorf("%s: %s", kind, x.Reason)
}

func (d *destination) callNames() string {
	return strings.Join(slices.Sorted(maps.Keys(d.calls)), ", ")
}

// onlyCall is the call of a route that names none.
func (d *destination) onlyCall() *plan {
	var only *call
	for _, c := range d.calls {
		switch {
		case !c.effect():
		case only != nil:
			return nil
		default:
			only = c
		}
	}
	if only == nil {
		return nil
	}
	made, err := d.planned(only, connectors.StepConfig{})
	if err != nil {
		return nil
	}
	return made
}

// compiler is one for what routes say.
func (d *destination) compiler() *compiler {
	env, _ := environment() // as it was when the destination was built
	c := &compiler{env: env, settings: d.settings, visible: d.visible}
	return c
}

// authenticate builds what authorises requests: what the recipe says, with what the user
// says in place of it or besides.
func (d *destination) authenticate(given *given, recipe *document, o connectors.Options) error {
	settings, err := overlay(recipe.way(given.auth), given.auth)
	if err != nil {
		return &Error{Path: "auth", Message: err.Error()}
	}
	made, err := auth.New(auth.Config{Settings: settings, Secret: o.Secret, Store: o.Connections, AllowLoopback: o.AllowLoopback})
	if err != nil {
		return err
	}
	d.auth = made.(auth.Connector)
	return nil
}

// Authenticator implements [auth.Authenticated].
func (d *destination) Authenticator() auth.Authenticator { return d.auth }

var userAgent = "raffsync/" + version()

// version is the module's, as the build recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return strings.Trim(info.Main.Version, "()") // "(devel)" outside of a release
}
