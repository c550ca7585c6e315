package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Page is a part of a ledger: GET /ledger/requests and /ledger/effects.
type Page struct {
	Lines []Request `json:"lines"`
	// Next is the "after" of the next page, 0 where this is the last.
	Next int64 `json:"next"`
}

const (
	usualPage   = 100
	largestPage = 10_000
)

var errFull = errors.New("the page is full")

// list serves durable lines, oldest first, filtered by the parameters event, key,
// ordering_key, type and result; after is a Seq, limit at most 10,000.
func (p *Platform) list(wanted func(*Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		query := request.URL.Query()
		after, err1 := number(query.Get("after"), 0, 1<<62)
		limit, err2 := number(query.Get("limit"), usualPage, largestPage)
		if err := errors.Join(err1, err2); err != nil {
			answer(w, http.StatusBadRequest, refused("invalid_parameter", "after and limit: "+err.Error()))
			return
		}
		same := func(parameter, value string) bool {
			return !query.Has(parameter) || query.Get(parameter) == value
		}
		page := Page{Lines: []Request{}}
		err := p.ledger.read(func(r *Request) error {
			if r.Seq <= after || !wanted(r) || !same("event", r.Event) || !same("key", r.Key) ||
				!same("ordering_key", r.OrderingKey) || !same("type", r.Type) || !same("result", string(r.Result)) {
				return nil
			}
			if int64(len(page.Lines)) == limit {
				page.Next = page.Lines[limit-1].Seq
				return errFull
			}
			page.Lines = append(page.Lines, *r)
			return nil
		})
		if err != nil && !errors.Is(err, errFull) {
			answer(w, http.StatusInternalServerError, refused("ledger_failed", "the platform cannot read its ledger"))
			return
		}
		answer(w, http.StatusOK, page)
	}
}

// tell serves a question: whether a request with the key has had an effect. It is
// signed like an event, over an empty body. What it answers is durable, and holds for
// every request that has come to its end; a failing platform in an outage cannot tell.
func (p *Platform) tell(w http.ResponseWriter, request *http.Request) {
	if err := p.signature.Verify(nil, request.Header); err != nil {
		answer(w, http.StatusUnauthorized, refused(codeSignature, "the signature does not verify"))
		return
	}
	if p.behaviour == Failing && p.faults.down(time.Since(p.started)) {
		answer(w, http.StatusServiceUnavailable, refused("unavailable", "down for maintenance"))
		return
	}
	effect, err := p.ledger.effectOf(request.PathValue("key"))
	switch {
	case err != nil:
		answer(w, http.StatusInternalServerError, refused("ledger_failed", "the platform cannot read its ledger"))
	case effect == 0:
		answer(w, http.StatusNotFound, refused("no_effect", "no request with this key has had an effect"))
	default:
		answer(w, http.StatusOK, p.receipt(effect, ResultEffect))
	}
}

func number(text string, absent, most int64) (int64, error) {
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%.20q is not a number from 0 to %d", text, most)
	}
	return n, nil
}
