package woocommerce

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config is a shop.
type Config struct {
	// Key and Secret are those of a REST API key: ck_… and cs_….
	Key, Secret string
	// Decimals of amounts; 2 where nil.
	Decimals *int
	Products []Product
	// Fault has a call go wrong; nil for never. It is asked for each call that passed
	// authentication, in their order, counted from 1.
	Fault func(n int, method, path string) Fault
	// Now is the shop's clock: time.Now where nil.
	Now func() time.Time
}

// Product is something that is sold.
type Product struct {
	ID    int64
	SKU   string
	Name  string
	Price string // a decimal number
	Stock int64
}

// Fault is a way for a call to go wrong.
type Fault int

// Faults.
const (
	None          Fault = iota
	Unavailable         // 503 of the web server, as HTML, before any effect
	Reset               // the connection breaks before any effect
	ResetAfter          // the connection breaks after the effect
	InternalAfter       // 500 after the effect, as after a fatal error in a plugin
	SilentAfter         // no answer after the effect, until the caller goes
)

type object = map[string]any

// Simulator is the shop. Its methods may be called from many goroutines.
type Simulator struct {
	config   Config
	decimals int
	now      func() time.Time

	mu        sync.Mutex // guards what follows
	calls     int
	lastID    int64
	products  map[int64]*product
	orders    table
	customers table
	gateway   int // refunds that the payment gateway was asked for
}

type product struct {
	Product
	price *big.Rat
}

// table holds things by their ids, in the order in which they came.
type table struct {
	byID  map[int64]object
	order []int64
}

func (t *table) put(id int64, o object) {
	if t.byID == nil {
		t.byID = make(map[int64]object)
	}
	if t.byID[id] == nil {
		t.order = append(t.order, id)
	}
	t.byID[id] = o
}

// New opens a shop.
func New(c Config) (*Simulator, error) {
	s := &Simulator{config: c, decimals: 2, now: c.Now, products: make(map[int64]*product), lastID: 100}
	if s.now == nil {
		s.now = time.Now
	}
	if c.Decimals != nil {
		s.decimals = *c.Decimals
	}
	for _, p := range c.Products {
		price, ok := decimal(p.Price)
		if !ok {
			return nil, fmt.Errorf("woocommerce: product %d: %q is no price", p.ID, p.Price)
		}
		s.products[p.ID] = &product{p, price}
		s.lastID = max(s.lastID, p.ID)
	}
	return s, nil
}

// Handler serves the REST API.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, act := range map[string]func(*Simulator, *http.Request, object) answer{
		"POST orders":              (*Simulator).createOrder,
		"GET orders":               (*Simulator).listOrders,
		"GET orders/{id}":          (*Simulator).getOrder,
		"PUT orders/{id}":          (*Simulator).updateOrder,
		"POST orders/{id}/refunds": (*Simulator).createRefund,
		"GET orders/{id}/refunds":  (*Simulator).listRefunds,
		"GET products":             (*Simulator).listProducts,
		"PUT products/{id}":        (*Simulator).updateProduct,
		"POST products/batch":      (*Simulator).updateProducts,
		"POST customers":           (*Simulator).createCustomer,
		"GET customers":            (*Simulator).listCustomers,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /wp-json/wc/v3/"+path, func(w http.ResponseWriter, r *http.Request) { s.call(w, r, act) })
	}
	mux.HandleFunc("/wp-json/", func(w http.ResponseWriter, _ *http.Request) {
		fail(http.StatusNotFound, "rest_no_route", "No route was found matching the URL and request method.").write(w)
	})
	return mux
}

const maxBody = 8 << 20

func (s *Simulator) call(w http.ResponseWriter, r *http.Request, act func(*Simulator, *http.Request, object) answer) {
	if no := s.refuses(r); no != nil {
		no.write(w)
		return
	}
	input := make(object)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		fail(http.StatusRequestEntityTooLarge, "rest_body_too_large", "The body is too large.").write(w)
		return
	}
	if len(body) > 0 {
		decoder := json.NewDecoder(strings.NewReader(string(body)))
		decoder.UseNumber()
		if err := decoder.Decode(&input); err != nil {
			fail(http.StatusBadRequest, "rest_invalid_json", "Invalid JSON body passed.").write(w)
			return
		}
	}
	s.mu.Lock()
	s.calls++
	fault := None
	if s.config.Fault != nil {
		fault = s.config.Fault(s.calls, r.Method, r.URL.Path)
	}
	var a answer
	if fault != Unavailable && fault != Reset {
		a = act(s, r, input)
	}
	text := a.encode()
	s.mu.Unlock()
	switch fault {
	case Unavailable:
		http.Error(w, "<html><body>Briefly unavailable for scheduled maintenance. Check back in a minute.</body></html>", http.StatusServiceUnavailable)
	case Reset, ResetAfter:
		panic(http.ErrAbortHandler)
	case InternalAfter:
		fail(http.StatusInternalServerError, "internal_server_error", "There has been a critical error on this website.").write(w)
	case SilentAfter:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	default:
		a.send(w, text)
	}
}

// refuses says why a call is not let in; nil where it is.
func (s *Simulator) refuses(r *http.Request) *answer {
	key, secret, ok := r.BasicAuth()
	var no answer
	switch {
	case !ok || key != s.config.Key:
		no = fail(http.StatusUnauthorized, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")
	case subtle.ConstantTimeCompare([]byte(secret), []byte(s.config.Secret)) != 1:
		no = fail(http.StatusUnauthorized, "woocommerce_rest_authentication_error", "Consumer secret is invalid.")
	default:
		return nil
	}
	return &no
}

// answer is what a call comes to.
type answer struct {
	status int
	header http.Header
	body   any
}

func fail(status int, code, message string) answer {
	return answer{status: status, body: object{"code": code, "message": message, "data": object{"status": status}}}
}

// encode while the books are locked: the body may be a part of them.
func (a answer) encode() []byte {
	text, err := json.Marshal(a.body)
	if err != nil {
		return []byte("null") // what came as JSON goes as JSON
	}
	return text
}

func (a answer) write(w http.ResponseWriter) { a.send(w, a.encode()) }

func (a answer) send(w http.ResponseWriter, text []byte) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // the caller may have gone; the books know all the same
}

// page cuts a list, and says in headers how long it is.
func page(r *http.Request, all []any) answer {
	size, number := whole(r.FormValue("per_page"), 10), whole(r.FormValue("page"), 1)
	if size > 100 {
		return fail(http.StatusBadRequest, "rest_invalid_param", "Invalid parameter(s): per_page")
	}
	from := min((number-1)*size, len(all))
	header := http.Header{}
	header.Set("X-WP-Total", strconv.Itoa(len(all)))
	header.Set("X-WP-TotalPages", strconv.Itoa((len(all)+size-1)/size))
	return answer{http.StatusOK, header, append([]any{}, all[from:min(from+size, len(all))]...)}
}

func whole(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n
	}
	return otherwise
}
