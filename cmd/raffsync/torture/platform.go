package torture

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// request is one request as it arrived at a platform, and what came of it there.
type request struct {
	At       time.Time `json:"at"`
	Key      string    `json:"key"` // Idempotency-Key
	Event    string    `json:"event"`
	Ordering string    `json:"ordering_key"`
	Hash     string    `json:"hash"`
	Asks     string    `json:"asks,omitempty"` // name of what it asks for, where the route names that
	Item     string    `json:"item,omitempty"` // of an order
	Of       string    `json:"of,omitempty"`   // what an invoice is for: the order's id at the platform
	Lie      string    `json:"lie,omitempty"`
	Effect   bool      `json:"effect"` // it brought something about, and not for the first time only
}

// platform is a destination of the torture: a web server with a memory of its own.
type platform struct {
	name string
	// recognises keys: a second request with one has no second effect.
	recognises bool
	// shadowed: its route is in shadow, so that nothing is ever sent.
	shadowed bool
	// effectsOf names what it has to have of an event; none: the event is not for it. nil: one
	// effect each, by the event's id.
	effectsOf func(*sent) []string
	seed      uint64
	percent   int // of requests that are lied to
	server    *http.Server
	url       string
	canary    atomic.Int64 // requests that followed a redirect
	calm      atomic.Bool  // no more faults

	mu       sync.Mutex
	file     *os.File
	out      *bufio.Writer
	requests []request
	attempts map[string]int  // by key
	known    map[string]bool // keys that have had their effect
	// questions counts how often it was asked about a key.
	questions int
	told      map[string]int // how often it was lied to whoever asked, by the name of the lie
	storm     *storm         // now
	storms    []storm        // those that are over
}

// storm is a time in which a platform answers nothing but this.
type storm struct {
	status   int
	from, to time.Time
}

const maxRequest = 1 << 20

func newPlatform(name string, recognises bool, seed uint64, percent int, path string) (*platform, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	p := &platform{
		name: name, recognises: recognises, seed: seed, percent: percent, file: file, out: bufio.NewWriter(file),
		attempts: make(map[string]int), known: make(map[string]bool), told: make(map[string]int),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	mux := http.NewServeMux()
	for _, path := range []string{"/events", "/orders", "/invoices"} {
		mux.HandleFunc("POST "+path, p.receive)
	}
	mux.HandleFunc("GET /events/{key}", p.answer)
	mux.HandleFunc("/canary", func(http.ResponseWriter, *http.Request) { p.canary.Add(1) })
	p.url = "http://" + listener.Addr().String()
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(listener) }() // ends with close
	return p, nil
}

// receive notes the request and its effect, and only then answers, or fails to.
func (p *platform) receive(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return // it never arrived as a whole: the sender was cut off
	}
	sum := sha256.Sum256(body)
	event, err := url.PathUnescape(r.Header.Get("Ce-Id"))
	if err != nil {
		event = r.Header.Get("Ce-Id")
	}
	ordering, _ := url.PathUnescape(r.Header.Get("Ce-Subject"))
	q := request{At: at, Key: keyOf(r), Event: event, Ordering: ordering, Hash: hex.EncodeToString(sum[:]), Asks: r.Header.Get("X-Effect")}
	if q.Asks != "" {
		var order struct{ Item, Order string }
		if err := json.Unmarshal(body, &order); err == nil { // else it names neither, which the checker sees
			q.Item, q.Of = order.Item, order.Order
		}
	}
	told := p.note(&q)
	told.answer(w, r, p)
}

// keyOf is what a request goes by: a webhook's idempotency key, a recipe's reference.
func keyOf(r *http.Request) string {
	return cmp.Or(r.PathValue("key"), r.Header.Get("Idempotency-Key"), r.Header.Get("X-Reference"))
}

// answer tells whether a key has had its effect, unless it is in trouble itself.
func (p *platform) answer(w http.ResponseWriter, r *http.Request) {
	key := keyOf(r)
	p.mu.Lock()
	known, told := p.known[key], truth
	p.questions++
	switch {
	case p.calm.Load():
	case p.storm != nil:
		told = stormLie(p.storm.status)
	case (p.questions+int(p.seed))%5 == 0:
		told = lies[p.questions/5%questionLies]
	}
	p.told[told.name]++
	p.mu.Unlock()
	if told == truth && !known {
		http.NotFound(w, r)
		return
	}
	told.answer(w, r, p)
}

// note decides what comes of a request.
func (p *platform) note(q *request) *lie {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts[q.Key]++
	told := truth
	switch {
	case p.calm.Load():
	case p.storm != nil:
		told = stormLie(p.storm.status)
	default:
		told = p.pick(q.Key, p.attempts[q.Key])
	}
	q.Lie = told.name
	if !told.before && !(p.recognises && p.known[q.Key]) {
		q.Effect = true
		p.known[q.Key] = true
	}
	p.requests = append(p.requests, *q)
	if line, err := json.Marshal(q); err == nil {
		_, _ = p.out.Write(append(line, '\n')) // for people who look into the folder
	}
	return told
}

// pick is the lie for the attempt (from 1) with the key: the same whenever it is asked.
func (p *platform) pick(key string, attempt int) *lie {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	random := rand.New(rand.NewPCG(p.seed^h.Sum64(), uint64(attempt)))
	if random.IntN(100) >= p.percent {
		return truth
	}
	return lies[random.IntN(len(lies))]
}

// rage makes every answer until calmed that status.
func (p *platform) rage(status int) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.storm != nil {
		return func() {}
	}
	s := &storm{status: status, from: time.Now()}
	p.storm = s
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.to = time.Now()
		p.storms = append(p.storms, *s)
		p.storm = nil
	}
}

// close ends the server; its ledger is complete then.
func (p *platform) close() error {
	err := p.server.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(err, p.out.Flush(), p.file.Close()); err != nil {
		return fmt.Errorf("platform %s: %w", p.name, err)
	}
	return nil
}
