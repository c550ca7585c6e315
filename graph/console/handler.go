package console

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed built
var built embed.FS

// policy lets the page load from its own host only. Icons and fonts of the bundle are
// data of its style sheet.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at / and what it loads.
func Handler() http.Handler {
	files, err := fs.Sub(built, "built")
	if err != nil {
		panic(err) // embedded: there or the program does not build
	}
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Cache-Control", "no-cache")
		server.ServeHTTP(w, r)
	})
}
