package acknowledge

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/explain"
)

// Store is what the page needs of the outbox.
type Store interface {
	Signer
	Acknowledge(context.Context, outbox.Actor, outbox.AcknowledgeRequest) (outbox.Acknowledged, error)
}

// Config of the page.
type Config struct {
	Store Store
	// Title is what an exception is called in a language; "" where there is none.
	Title func(ctx context.Context, tenant string, exception int64, in explain.Language) (string, error)
	Log   *slog.Logger
	Now   func() time.Time // nil: the clock
}

// Handler serves the page at [Path].
func Handler(c Config) http.Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, c.show)
	mux.HandleFunc("POST "+Path, c.acknowledge)
	return mux
}

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

// view is what the page shows.
type view struct {
	Language explain.Language
	Title    string // of the exception, or of what is wrong
	Text     string
	Button   string // "" for none
	Token    string
}

func (c *Config) show(w http.ResponseWriter, r *http.Request) {
	in := languageOf(r)
	words := wordsIn(in)
	token := r.URL.Query().Get("t")
	claim, err := read(c.Store, token, c.Now())
	if err != nil {
		write(w, words.refusal(err), words.refused(err, in))
		return
	}
	title, err := c.Title(r.Context(), claim.Tenant, claim.Exception, in)
	switch {
	case errors.Is(err, outbox.ErrNotFound):
		write(w, http.StatusNotFound, words.refused(err, in))
	case err != nil:
		c.fail(w, r, err, in)
	default:
		write(w, http.StatusOK, view{in, title, fmt.Sprintf(words.offer, words.spell(claim.For)), words.button, token})
	}
}

func (c *Config) acknowledge(w http.ResponseWriter, r *http.Request) {
	in := languageOf(r)
	words := wordsIn(in)
	r.Body = http.MaxBytesReader(w, r.Body, 2*longest)
	claim, err := read(c.Store, r.PostFormValue("t"), c.Now())
	if err != nil {
		write(w, words.refusal(err), words.refused(err, in))
		return
	}
	done, err := c.Store.Acknowledge(r.Context(), outbox.Actor{Tenant: claim.Tenant, Name: claim.Address}, outbox.AcknowledgeRequest{
		RequestID: "link " + rand.Text(), Exception: claim.Exception, Until: c.Now().Add(claim.For), Reason: "by the link in a notice",
	})
	var refusal *outbox.Refusal
	switch {
	case errors.As(err, &refusal), errors.Is(err, outbox.ErrNotFound):
		write(w, words.refusal(err), words.refused(err, in))
	case err != nil:
		c.fail(w, r, err, in)
	default:
		write(w, http.StatusOK, view{Language: in, Title: words.done, Text: words.until + done.Until.UTC().Format("2006-01-02 15:04 MST") + "."})
	}
}

func (c *Config) fail(w http.ResponseWriter, r *http.Request, err error, in explain.Language) {
	if r.Context().Err() == nil {
		c.Log.ErrorContext(r.Context(), "an exception cannot be acknowledged by its link", "error", err)
	}
	write(w, http.StatusServiceUnavailable, view{Language: in, Title: wordsIn(in).later})
}

// write tells browsers and searchers to make nothing of the page but what it is, and to
// tell nobody of its address.
func write(w http.ResponseWriter, status int, v view) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = page.Execute(w, v)
}

func languageOf(r *http.Request) explain.Language {
	return explain.ParseLanguage(r.Header.Get("Accept-Language"))
}
