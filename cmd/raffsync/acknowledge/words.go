package acknowledge

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/explain"
)

// words of the page.
type words struct {
	offer, button, done, until, later         string
	forged, expired, over, gone, whatToDoThen string
	units                                     [3]string // minutes, hours, days, of several
}

var english = words{
	units:  [3]string{"minutes", "hours", "days"},
	offer:  "Whoever takes it up looks after it: nobody else is told for %s. Nothing else is changed.",
	button: "I take it up", done: "You have taken it up", until: "Nobody else is told of it until ",
	later:  "This does not work right now. Try again in a moment.",
	forged: "This link is not valid", expired: "This link has expired", over: "This is over already", gone: "There is no such exception any more",
	whatToDoThen: "Log in to Raffs Sync to see what is open.",
}

var indonesian = words{
	units:  [3]string{"menit", "jam", "hari"},
	offer:  "Yang mengambil alih akan menanganinya: selama %s tidak ada orang lain yang diberi tahu. Tidak ada hal lain yang berubah.",
	button: "Saya tangani", done: "Anda menangani masalah ini", until: "Tidak ada orang lain yang diberi tahu sampai ",
	later:  "Saat ini belum bisa. Coba lagi sebentar lagi.",
	forged: "Tautan ini tidak berlaku", expired: "Tautan ini sudah kedaluwarsa", over: "Masalah ini sudah selesai", gone: "Masalah ini tidak ada lagi",
	whatToDoThen: "Masuk ke Raffs Sync untuk melihat apa yang masih terbuka.",
}

// spell puts a duration into words, in the largest unit of which it is several; what is
// left of it is not worth a word.
func (w words) spell(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d %s", d/(24*time.Hour), w.units[2])
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d %s", d/time.Hour, w.units[1])
	}
	return fmt.Sprintf("%d %s", d/time.Minute, w.units[0])
}

func wordsIn(in explain.Language) words {
	if in == explain.Indonesian {
		return indonesian
	}
	return english
}

// refusal is the status of what a link cannot do.
func (words) refusal(err error) int {
	var refusal *outbox.Refusal
	switch {
	case errors.Is(err, errExpired):
		return http.StatusGone
	case errors.Is(err, outbox.ErrNotFound):
		return http.StatusNotFound
	case errors.As(err, &refusal):
		return http.StatusConflict
	}
	return http.StatusForbidden
}

func (w words) refused(err error, in explain.Language) view {
	var refusal *outbox.Refusal
	title := w.forged
	switch {
	case errors.Is(err, errExpired):
		title = w.expired
	case errors.Is(err, outbox.ErrNotFound):
		title = w.gone
	case errors.As(err, &refusal):
		title = w.over
	}
	return view{Language: in, Title: title, Text: w.whatToDoThen}
}
