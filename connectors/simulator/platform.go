package simulator

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Behaviour is how a platform treats what it receives.
type Behaviour string

const (
	Healthy Behaviour = "healthy"
	Failing Behaviour = "failing"
	Strict  Behaviour = "strict"
)

// maxBody is the most that a platform takes, in bytes: the limit of an event twice.
const maxBody = 1 << 20

// Config is a platform.
type Config struct {
	// Name is for people.
	Name      string
	Behaviour Behaviour
	// Ledger is the path of its file; its folder is there already.
	Ledger string
	// Secret is the Standard Webhooks secret: "whsec_" and 24 to 64 bytes in base64. Instead
	// of a signature, requests may bring it as their bearer token.
	Secret string
	// SKUs are the ones that a strict platform knows; [DefaultSKUs] where nil.
	SKUs []string
	// Faults is when a failing platform fails.
	Faults Faults
	// Forgetful: it recognises no repeats. Each request that it takes is an effect, so
	// that what is sent twice is a duplicate.
	Forgetful bool
	// Listen is where [Run] listens: a loopback address with a port, 0 for a free one.
	Listen string
}

// Platform is a simulated platform with its ledger.
type Platform struct {
	name      string
	behaviour Behaviour
	signature *standardwebhooks.Webhook
	secret    string
	skus      map[string]bool
	faults    Faults
	ledger    *ledger
	started   time.Time
	closing   chan struct{}
	close     func() error
}

// New opens the ledger, reads what it holds, and holds it until [Platform.Close].
func New(config Config) (*Platform, error) {
	p, err := newPlatform(config)
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", config.Name, err)
	}
	return p, nil
}

func newPlatform(config Config) (*Platform, error) {
	switch config.Behaviour {
	case Healthy, Failing, Strict:
	default:
		return nil, fmt.Errorf("no behaviour %q; there is %s, %s and %s", config.Behaviour, Healthy, Failing, Strict)
	}
	encoded, whsec := strings.CutPrefix(config.Secret, "whsec_")
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if !whsec || err != nil || len(secret) < 24 || len(secret) > 64 {
		return nil, errors.New(`the secret is not "whsec_" and 24 to 64 bytes in base64`)
	}
	signature, err := standardwebhooks.NewWebhookRaw(secret)
	if err != nil {
		return nil, err
	}
	if config.SKUs == nil {
		config.SKUs = DefaultSKUs
	}
	p := &Platform{
		name:      config.Name,
		behaviour: config.Behaviour,
		signature: signature,
		secret:    config.Secret,
		skus:      map[string]bool{},
		faults:    config.Faults.withDefaults(),
		started:   time.Now(),
		closing:   make(chan struct{}),
	}
	for _, sku := range config.SKUs {
		p.skus[sku] = true
	}
	if p.ledger, err = openLedger(config.Ledger); err != nil {
		return nil, err
	}
	p.ledger.forgetful = config.Forgetful
	p.close = sync.OnceValue(func() error {
		close(p.closing)
		return p.ledger.close()
	})
	return p, nil
}

// Close lets go of requests that hang and gives the ledger up. Requests that come
// later are answered with 500.
func (p *Platform) Close() error { return p.close() }

// Summary is what the ledger comes to now.
func (p *Platform) Summary() Summary {
	s := p.ledger.summary()
	s.Platform, s.Behaviour, s.PID = p.name, p.behaviour, os.Getpid()
	return s
}

// Handler serves POST /events, GET /events/{key} and GET /ledger. It needs HTTP/1.1.
func (p *Platform) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events", p.receive)
	mux.HandleFunc("GET /events/{key}", p.tell)
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, p.Summary())
	})
	mux.HandleFunc("GET /ledger/requests", p.list(func(*Request) bool { return true }))
	mux.HandleFunc("GET /ledger/effects", p.list(func(r *Request) bool { return r.Result == ResultEffect }))
	return mux
}

// receive takes one webhook: decides, writes the line, and then answers.
func (p *Platform) receive(w http.ResponseWriter, request *http.Request) {
	r := newRequest(request.Header)
	body, readError := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBody))
	sum := sha256.Sum256(body)
	r.Body, r.Bytes = hex.EncodeToString(sum[:]), len(body)

	attempt := 0
	if p.behaviour == Failing {
		attempt = p.ledger.attempts(r.Key) + 1
		r.Fault = p.faults.at(time.Since(p.started), r.Key, attempt)
	}
	no := p.refuse(request.Header, r, body, readError)
	switch {
	case r.Fault != FaultNone && !r.Fault.afterEffect():
		r.Result = ResultFault
	case no != nil:
		r.Result, r.Code, r.Fault = ResultRefused, no.Code, FaultNone
	}
	effect, err := p.ledger.record(r)
	switch {
	case err != nil:
		answer(w, http.StatusInternalServerError, map[string]any{"error": refusal{
			Code: "ledger_failed", Message: "the platform cannot write its ledger",
		}})
	case r.Code == codeKeyReused:
		answer(w, reused.Status, map[string]any{"error": reused})
	case no != nil && r.Result == ResultRefused:
		answer(w, no.Status, map[string]any{"error": no})
	default:
		p.fail(w, request, r, attempt, p.receipt(effect, r.Result))
	}
}

func newRequest(header http.Header) *Request {
	// Attributes are percent-encoded in headers, section 3.1.3.2 of the binding.
	attribute := func(name string) string {
		value := header.Get(name)
		if decoded, err := url.PathUnescape(value); err == nil {
			return decoded
		}
		return value
	}
	id := header.Get(standardwebhooks.HeaderWebhookID)
	return &Request{
		At:          time.Now().UTC(),
		Key:         header.Get("Idempotency-Key"),
		WebhookID:   id,
		Event:       cmp.Or(attribute("Ce-Id"), id),
		Source:      attribute("Ce-Source"),
		Type:        attribute("Ce-Type"),
		OrderingKey: attribute("Ce-Subject"),
	}
}

func (p *Platform) refuse(header http.Header, r *Request, body []byte, readError error) *refusal {
	var long *http.MaxBytesError
	switch {
	case errors.As(readError, &long):
		return &refusal{http.StatusRequestEntityTooLarge, codeBodyTooLong, "", fmt.Sprintf("a body has at most %d bytes", maxBody)}
	case readError != nil:
		return &refusal{http.StatusBadRequest, codeBody, "", "the body ended early"}
	}
	return p.check(header, r, body)
}
