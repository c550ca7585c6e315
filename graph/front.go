package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"

	"raffsync/graph/console"
	"raffsync/outbox"
)

// front is what stands before GraphQL: who may come in, from where, with how much.
type front struct {
	keeper  *doorkeeper
	graphql http.Handler
	origins []string
	base    context.Context
	log     *slog.Logger
}

func newFront(c Config, server http.Handler, base context.Context) (http.Handler, error) {
	f := &front{keeper: newDoorkeeper(c.Operators), graphql: server, origins: c.Origins, base: base, log: c.Log}
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusForbidden, codeForbidden, "this page's origin may not use the API")
	}))
	for _, origin := range c.Origins {
		if err := crossOrigin.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("graph: origin %q: %w", origin, err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/graphql", crossOrigin.Handler(http.HandlerFunc(f.serve)))
	if c.Development {
		mux.Handle("/", f.behindBasic(console.Handler()))
	}
	return harmless(mux), nil
}

// harmless tells browsers to make nothing of an answer but what it is.
func harmless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (f *front) serve(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		f.serveWebSocket(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, codeBadInput, "send operations by POST, or open a WebSocket")
		return
	}
	session, ok := f.session(w, r)
	if !ok {
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, codeBadInput, "the content type must be application/json")
		return
	}
	if !readBody(w, r) {
		return
	}
	streams := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	ctx := withChannel(withSession(r.Context(), session), &channel{streams: streams})
	if streams {
		s := newStream(w)
		defer s.end()
		w = s
	}
	f.graphql.ServeHTTP(w, r.WithContext(ctx))
}

func (f *front) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if !f.sameOrigin(r) {
		fail(w, http.StatusForbidden, codeForbidden, "this page's origin may not use the API")
		return
	}
	if !speaks(r) {
		fail(w, http.StatusBadRequest, codeBadInput, "the WebSocket must speak "+subprotocol)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(f.base, cancel)()
	ctx = context.WithValue(ctx, doorkeeperKey{}, f.keeper)
	ctx = withChannel(ctx, &channel{streams: true})
	if r.Header.Get("Authorization") != "" {
		session, ok := f.session(w, r)
		if !ok {
			return
		}
		ctx = withSession(ctx, session)
	}
	f.graphql.ServeHTTP(w, r.WithContext(ctx))
}

// sameOrigin tells whether a page may open a WebSocket: browsers always name its
// origin, other programs none.
func (f *front) sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	if len(f.origins) > 0 {
		return len(origins) == 1 && slices.Contains(f.origins, origins[0])
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return len(origins) == 1 && origins[0] == scheme+r.Host
}

func speaks(r *http.Request) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(name) == subprotocol {
				return true
			}
		}
	}
	return false
}

// session finds who asks by HTTP Basic, or answers that they must say so.
func (f *front) session(w http.ResponseWriter, r *http.Request) (*session, bool) {
	name, secret, ok := r.BasicAuth()
	if ok {
		session, err := f.keeper.admit(r.Context(), name, secret)
		if err == nil {
			return session, true
		}
		if !errors.Is(err, outbox.ErrUnauthenticated) {
			f.log.ErrorContext(r.Context(), "a credential could not be verified", "error", err)
			fail(w, http.StatusServiceUnavailable, codeUnavailable, "the credential cannot be verified right now; try again")
			return nil, false
		}
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="Raffs Sync", charset="UTF-8"`)
	code, message, _ := translate(outbox.ErrUnauthenticated)
	fail(w, http.StatusUnauthorized, code, message)
	return nil, false
}

func (f *front) behindBasic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := f.session(w, r); ok {
			next.ServeHTTP(w, r)
		}
	})
}

// readBody replaces the body by one that has been read and is a request: the
// transports would repeat, and log, what they cannot read.
func readBody(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		fail(w, http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("a request has at most %d bytes", maxBody))
		return false
	}
	if err != nil {
		return false // whoever asked has gone
	}
	var params graphql.RawParams
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&params) != nil || decoder.More() || params.Query == "" {
		fail(w, http.StatusBadRequest, codeBadInput, `the body must be one JSON object with "query", and "variables" where it has any`)
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true
}

// fail answers in GraphQL's form before GraphQL is asked.
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"errors": []any{map[string]any{"message": message, "extensions": map[string]any{"code": code}}},
	})
}
