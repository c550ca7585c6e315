package xero

import (
	"cmp"
	"math/big"
	"net/http"
	"sync"
	"time"
)

// Config is an organisation at the platform.
type Config struct {
	OAuth OAuth
	// Tenant is the organisation's id; one is made up where empty.
	Tenant string
	// PerMinute and PerDay are the most calls, Parallel the most at once: 60, 5,000 and 5
	// where 0.
	PerMinute, PerDay, Parallel int
	// ConcurrencyProblem is the X-Rate-Limit-Problem of a call beyond Parallel:
	// "concurrent" where empty. Unverified.
	ConcurrencyProblem string
	// TaxRates are the rates of tax types, as "0.2"; a few of Britain's where nil.
	TaxRates map[string]string
	// Accounts are the codes that lines may name; 200 and 260 where nil.
	Accounts []string
	// Contacts are known from the beginning.
	Contacts []Contact
	// LockedBefore refuses approved documents of an earlier date; zero for none.
	LockedBefore time.Time
	// Fault has a call go wrong; nil for never. It is asked for each call that passed
	// authentication and limits, in their order, counted from 1.
	Fault func(n int, method, path string) Fault
	// Now is the platform's clock: time.Now where nil.
	Now func() time.Time
}

// Contact is somebody who buys.
type Contact struct{ ID, Number, Name string }

// Fault is a way for a call to go wrong.
type Fault int

// Faults.
const (
	None          Fault = iota
	Unavailable         // 503, before any effect
	Reset               // the connection breaks before any effect
	ResetAfter          // the connection breaks after the effect
	InternalAfter       // 500 after the effect
	SilentAfter         // no answer after the effect, until the caller goes
)

// Simulator is the platform. Its methods may be called from many goroutines.
type Simulator struct {
	config   Config
	now      func() time.Time
	accounts map[string]bool
	rates    map[string]*big.Rat

	mu       sync.Mutex // guards what follows
	limits   limits
	tokens   map[string]token
	keys     map[string]remembered
	calls    int
	contacts map[string]Contact
	books    map[string]*book // by path: "Invoices", "CreditNotes"
}

// New makes an organisation without documents.
func New(c Config) (*Simulator, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Tenant = cmp.Or(c.Tenant, newID())
	if c.TaxRates == nil {
		c.TaxRates = map[string]string{"NONE": "0", "ZERORATEDOUTPUT": "0", "EXEMPTOUTPUT": "0", "OUTPUT": "0.1", "OUTPUT2": "0.2", "RROUTPUT": "0.05"}
	}
	if c.Accounts == nil {
		c.Accounts = []string{"200", "260"}
	}
	s := &Simulator{
		config: c, now: c.Now, accounts: make(map[string]bool), rates: make(map[string]*big.Rat),
		limits: limits{perMinute: cmp.Or(c.PerMinute, 60), perDay: cmp.Or(c.PerDay, 5000), parallel: cmp.Or(c.Parallel, 5)},
		tokens: make(map[string]token), keys: make(map[string]remembered), contacts: make(map[string]Contact),
		books: map[string]*book{"Invoices": newBook(), "CreditNotes": newBook()},
	}
	for _, code := range c.Accounts {
		s.accounts[code] = true
	}
	for kind, rate := range c.TaxRates {
		r, err := parseDecimal(rate)
		if err != nil {
			return nil, err
		}
		s.rates[kind] = r
	}
	for _, contact := range c.Contacts {
		contact.ID = cmp.Or(contact.ID, newID())
		s.contacts[contact.ID] = contact
	}
	return s, nil
}

// Handler serves the platform: identity, connections and accounting.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /connect/token", s.token)
	mux.HandleFunc("GET /connections", s.connections)
	mux.HandleFunc("/api.xro/2.0/", s.call)
	return mux
}

// Limited is how many calls were refused since they were too many.
func (s *Simulator) Limited() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits.refused
}
