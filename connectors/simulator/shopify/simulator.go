package shopify

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// Config is a shop.
type Config struct {
	// Token is the app's access token.
	Token string
	// Scopes that it has; all where nil.
	Scopes []string
	// Points come back each second, up to the Bucket: 100 and 2,000 where 0, those of the
	// standard plan.
	Points, Bucket float64
	// ThrottledStatus is the HTTP status of an answer that says THROTTLED: 200 where 0.
	// Unverified.
	ThrottledStatus int
	// Suspended, where not 0, is the HTTP status of every answer: 402 for a shop that is
	// frozen, 423 for one that is locked. Unverified.
	Suspended int
	Currency  string // USD where empty
	Variants  []Variant
	// Fault has a call go wrong; nil for never. It is asked for each call that passed
	// authentication and throttle, in their order, counted from 1; operation is the field
	// that it asks for.
	Fault func(n int, operation string) Fault
	// Now is the shop's clock: time.Now where nil.
	Now func() time.Time
}

// Variant is something that is sold.
type Variant struct {
	ID, SKU string // the ID's number
	Price   string
	// Stock of it at each location, by the location's number.
	Stock map[string]int64
}

// Fault is a way for a call to go wrong.
type Fault int

// Faults.
const (
	None          Fault = iota
	Internal            // INTERNAL_SERVER_ERROR in the body, before any effect
	Unavailable         // 503, before any effect
	Reset               // the connection breaks before any effect
	ResetAfter          // the connection breaks after the effect
	InternalAfter       // 500 after the effect
	SilentAfter         // no answer after the effect, until the caller goes
)

type object = map[string]any

// Simulator is the shop. Its methods may be called from many goroutines.
type Simulator struct {
	config Config
	now    func() time.Time

	mu        sync.Mutex // guards what follows
	points    float64
	at        time.Time // of points
	throttled int
	calls     int
	lastID    int64
	variants  map[string]*Variant
	orders    []object
	customers []object
	keys      map[string]remembered
}

// New opens a shop.
func New(c Config) (*Simulator, error) {
	if c.Token == "" {
		return nil, fmt.Errorf("shopify: no Token: nobody could get in")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Points, c.Bucket = cmp.Or(c.Points, 100), cmp.Or(c.Bucket, 2000)
	c.ThrottledStatus, c.Currency = cmp.Or(c.ThrottledStatus, http.StatusOK), cmp.Or(c.Currency, "USD")
	s := &Simulator{config: c, now: c.Now, points: c.Bucket, at: c.Now(), lastID: 1000, variants: make(map[string]*Variant), keys: make(map[string]remembered)}
	for _, v := range c.Variants {
		if _, ok := decimal(v.Price); !ok {
			return nil, fmt.Errorf("shopify: variant %s: %q is no price", v.ID, v.Price)
		}
		stock := make(map[string]int64)
		for location, n := range v.Stock {
			stock[location] = n
		}
		v.Stock = stock
		s.variants[v.ID] = &v
	}
	return s, nil
}

// Handler serves the Admin API in any version.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /admin/api/{version}/graphql.json", s.call)
	return mux
}

const maxBody = 4 << 20

// call is one call of the API.
func (s *Simulator) call(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Shopify-Access-Token")), []byte(s.config.Token)) != 1 {
		write(w, http.StatusUnauthorized, object{"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"})
		return
	}
	if s.config.Suspended != 0 {
		write(w, s.config.Suspended, object{"errors": "Unavailable Shop"})
		return
	}
	q, problem := s.read(w, r)
	if problem != "" {
		write(w, http.StatusOK, object{"errors": []any{object{"message": problem}}})
		return
	}
	s.mu.Lock()
	cost := s.cost(q)
	if !s.spend(cost) {
		answer := object{"errors": []any{object{"message": "Throttled", "extensions": object{"code": "THROTTLED", "documentation": "https://shopify.dev/api/usage/rate-limits"}}}, "extensions": s.throttle(cost, nil)}
		s.mu.Unlock()
		write(w, s.config.ThrottledStatus, answer)
		return
	}
	s.calls++
	fault := None
	if s.config.Fault != nil {
		fault = s.config.Fault(s.calls, q.fields[0].Name)
	}
	var answer object
	if fault != Internal && fault != Unavailable && fault != Reset {
		answer = s.answer(q)
		answer["extensions"] = s.throttle(cost, cost)
	}
	text, err := json.Marshal(answer)
	s.mu.Unlock()
	switch {
	case err != nil, fault == InternalAfter:
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
	case fault == Internal:
		write(w, http.StatusOK, object{"errors": []any{object{"message": "Internal error. Looks like something went wrong on our end.", "extensions": object{"code": "INTERNAL_SERVER_ERROR", "requestId": "1"}}}})
	case fault == Unavailable:
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
	case fault == Reset, fault == ResetAfter:
		panic(http.ErrAbortHandler)
	case fault == SilentAfter:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(text) // the caller may have gone; the books know all the same
	}
}

// question is an operation with its variables.
type question struct {
	version   string
	mutation  bool
	fields    []*ast.Field
	fragments ast.FragmentDefinitionList
	variables map[string]any
}

func (s *Simulator) read(w http.ResponseWriter, r *http.Request) (*question, string) {
	var given struct {
		Query     string
		Variables map[string]any
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		decoder := json.NewDecoder(strings.NewReader(string(body)))
		decoder.UseNumber()
		err = decoder.Decode(&given)
	}
	if err != nil {
		return nil, "the body is no JSON with a query"
	}
	document, err := parser.ParseQuery(&ast.Source{Input: given.Query})
	if err != nil {
		return nil, "syntax error"
	}
	if len(document.Operations) != 1 {
		return nil, "expected one operation"
	}
	operation := document.Operations[0]
	q := &question{
		version: r.PathValue("version"), mutation: operation.Operation == ast.Mutation, fragments: document.Fragments, variables: make(map[string]any),
	}
	for _, v := range operation.VariableDefinitions {
		value, there := given.Variables[v.Variable]
		if !there && v.DefaultValue != nil {
			value, err = v.DefaultValue.Value(nil)
			there = err == nil
		}
		if v.Type.NonNull && (!there || value == nil) {
			return nil, fmt.Sprintf("Variable $%s of type %s was provided invalid value", v.Variable, v.Type)
		}
		q.variables[v.Variable] = value
	}
	q.fields = q.flat(operation.SelectionSet)
	if len(q.fields) == 0 {
		return nil, "expected a field"
	}
	return q, ""
}

// flat is the fields of a selection, those of its fragments among them.
func (q *question) flat(set ast.SelectionSet) (fields []*ast.Field) {
	for _, selection := range set {
		switch one := selection.(type) {
		case *ast.Field:
			fields = append(fields, one)
		case *ast.InlineFragment:
			fields = append(fields, q.flat(one.SelectionSet)...)
		case *ast.FragmentSpread:
			if f := q.fragments.ForName(one.Name); f != nil {
				fields = append(fields, q.flat(f.SelectionSet)...)
			}
		}
	}
	return fields
}

// shown is what a selection takes of a value.
func (q *question) shown(v any, set ast.SelectionSet) any {
	switch v := v.(type) {
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = q.shown(v[i], set)
		}
		return all
	case object:
		if len(set) == 0 {
			return v
		}
		some := make(object)
		for _, f := range q.flat(set) {
			some[f.Alias] = q.shown(v[f.Name], f.SelectionSet)
		}
		return some
	}
	return v
}

// cost of an operation, in points: ten a mutation, one for each of the things that a
// query may find.
func (s *Simulator) cost(q *question) float64 {
	if q.mutation {
		return 10 * float64(len(q.fields))
	}
	cost := 0.0
	for _, f := range q.fields {
		first := 1.0
		if a := f.Arguments.ForName("first"); a != nil {
			if n, err := a.Value.Value(q.variables); err == nil {
				_, _ = fmt.Sscan(fmt.Sprint(n), &first)
			}
		}
		cost += 1 + first
	}
	return cost
}

func (s *Simulator) spend(cost float64) bool {
	now := s.now()
	s.points = math.Min(s.config.Bucket, s.points+now.Sub(s.at).Seconds()*s.config.Points)
	s.at = now
	if cost > s.points {
		s.throttled++
		return false
	}
	s.points -= cost
	return true
}

func (s *Simulator) throttle(requested float64, actual any) object {
	return object{"cost": object{"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": object{
		"maximumAvailable": s.config.Bucket, "currentlyAvailable": math.Floor(s.points), "restoreRate": s.config.Points,
	}}}
}

// Throttled is how many calls were refused since they cost too much.
func (s *Simulator) Throttled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.throttled
}

// may tells whether the app has a scope.
func (s *Simulator) may(scope string) bool {
	return s.config.Scopes == nil || slices.Contains(s.config.Scopes, scope)
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
