package accurate

import (
	"cmp"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Config is a company's database at the platform.
type Config struct {
	// Token and Secret are those of an API token; requests carry the first as bearer and
	// a signature made with the second.
	Token, Secret string
	// OAuth are the clients that may get access by OAuth 2; nil for none.
	OAuth *OAuth
	// Rate is the most calls a second, Parallel the most at once: 8 and 8 where 0.
	Rate, Parallel int
	// LimitStatus is the HTTP status of a call beyond a limit: 429 where 0. Unverified: no
	// source names it.
	LimitStatus int
	// Brief has a save answer id, name and number alone, and not the whole document with the
	// ids of its lines. Unverified: the sources' examples are cut short there.
	Brief bool
	// Items and Customers are known from the beginning, by their numbers.
	Items     []Item
	Customers []Customer
	// LockedBefore refuses documents of an earlier date; zero for none.
	LockedBefore time.Time
	// Fault has a call go wrong; nil for never. It is asked for each call that passed
	// authentication and limits, in their order, counted from 1.
	Fault func(n int, path string) Fault
	// Now is the platform's clock: time.Now where nil.
	Now func() time.Time
}

// Fault is a way for a call to go wrong.
type Fault int

// Faults.
const (
	None           Fault = iota
	Unavailable          // 503, before any effect
	Reset                // the connection breaks before any effect
	ResetAfter           // the connection breaks after the effect
	InternalAfter        // 500 after the effect
	SilentAfter          // no answer after the effect, until the caller goes
	SessionExpired       // {"s":false,"d":"Data Session Key tidak tepat"}
)

// Item is something that is sold.
type Item struct {
	No, Name string
	// Stock of it, in all warehouses.
	Stock int64
}

// Customer is somebody who buys.
type Customer struct{ No, Name string }

// Simulator is the platform. Its methods may be called from many goroutines.
type Simulator struct {
	config Config
	limit  limit
	now    func() time.Time

	mu       sync.Mutex // guards what follows
	lastID   int64
	calls    int
	books    map[string]*book // by kind: "sales-invoice"
	stock    map[string]*big.Rat
	sessions map[string]bool
	tokens   map[string]token
}

// New makes a database with nothing in it but the items and customers of the
// configuration.
func New(c Config) (*Simulator, error) {
	if c.Token == "" && c.OAuth == nil {
		return nil, errors.New("accurate: neither Token nor OAuth is set: nobody could get in")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.LimitStatus = cmp.Or(c.LimitStatus, http.StatusTooManyRequests)
	s := &Simulator{
		config: c, now: c.Now, limit: limit{rate: cmp.Or(c.Rate, 8), parallel: cmp.Or(c.Parallel, 8)},
		books: make(map[string]*book), stock: make(map[string]*big.Rat), sessions: make(map[string]bool), tokens: make(map[string]token),
	}
	for kind := range kinds {
		s.books[kind] = newBook()
	}
	for _, i := range c.Items {
		s.add("item", object{"no": i.No, "name": i.Name})
		s.stock[i.No] = new(big.Rat).SetInt64(i.Stock)
	}
	for _, customer := range c.Customers {
		s.add("customer", object{"customerNo": customer.No, "name": customer.Name})
	}
	return s, nil
}

// add puts a document into the books that the platform had before.
func (s *Simulator) add(kind string, o object) {
	s.lastID++
	o["id"] = s.lastID
	s.books[kind].put(kinds[kind].name, s.lastID, o)
}

// Handler serves the platform, both the account's part and the database's.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/api-token.do", s.apiToken)
	mux.HandleFunc("POST /oauth/token", s.oauthToken)
	mux.HandleFunc("GET /api/db-list.do", s.databases)
	mux.HandleFunc("GET /api/open-db.do", s.openDatabase)
	mux.HandleFunc("/accurate/api/{kind}/{action}", s.call)
	return mux
}

// call is one call of the database's API.
func (s *Simulator) call(w http.ResponseWriter, r *http.Request) {
	if no := s.refuses(r); no != nil {
		no.write(w)
		return
	}
	done, ok := s.limit.enter(s.now())
	if !ok {
		answer{status: s.config.LimitStatus, body: object{"s": false, "d": []any{
			"Batas maksimal 8 request per detik dan 8 request paralel terlampaui",
		}}}.write(w)
		return
	}
	defer done()
	fault := s.fault(r.URL.Path)
	switch fault {
	case Unavailable:
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		return
	case Reset:
		panic(http.ErrAbortHandler)
	case SessionExpired:
		refused("Data Session Key tidak tepat").write(w)
		return
	}
	a := s.act(r)
	switch fault {
	case ResetAfter:
		panic(http.ErrAbortHandler)
	case InternalAfter:
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	case SilentAfter:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	a.write(w)
}

func (s *Simulator) fault(path string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.config.Fault == nil {
		return None
	}
	return s.config.Fault(s.calls, path)
}

// act does what is asked for.
func (s *Simulator) act(r *http.Request) answer {
	kind, action := r.PathValue("kind"), strings.TrimSuffix(r.PathValue("action"), ".do")
	if _, known := kinds[kind]; !known {
		return answer{status: http.StatusNotFound, body: object{"error": "not_found"}}
	}
	input, err := read(r)
	if err != nil {
		return refused(err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case action == "save" && r.Method == http.MethodPost:
		return s.save(kind, input)
	case action == "bulk-save" && r.Method == http.MethodPost:
		return s.bulkSave(kind, input)
	case kind == "item-adjustment" && action == "save-target-quantity" && r.Method == http.MethodPost:
		return s.setStock(input)
	case action == "detail":
		return s.detail(kind, input)
	case action == "list":
		return s.list(kind, input)
	case kind == "item" && action == "get-stock":
		return s.stockOf(input)
	}
	return answer{status: http.StatusNotFound, body: object{"error": "not_found"}}
}
