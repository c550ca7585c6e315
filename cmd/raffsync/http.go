package main

import (
	"log/slog"
	"net/http"
	"time"

	"raffsync/cmd/raffsync/acknowledge"
)

// httpServer serves the API and the receivers of webhooks, and says how the process is: alive where it answers at
// all, whatever Postgres does; ready where it can do its work.
func (a *app) httpServer(draining <-chan struct{}) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", a.api)
	mux.Handle(acknowledge.Path, acknowledge.Handler(acknowledge.Config{Store: a.config.store, Title: a.titleOf, Log: a.config.log}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	mux.Handle("GET /readyz", a.readyz(draining))
	a.hooks.Register(mux)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(a.config.log.Handler(), slog.LevelWarn),
		// No write time-out: a subscription lasts as long as it is watched.
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
