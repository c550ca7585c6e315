package simulator

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// receipt is the body of a 200. ID is the same for every request with one key.
type receipt struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

func (p *Platform) receipt(effect int64, result Result) receipt {
	return receipt{ID: fmt.Sprintf("%s-%d", p.name, effect), Status: string(result)}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The caller may have gone; the ledger knows all the same.
	_ = json.NewEncoder(w).Encode(body)
}

// fail answers in the way of the request's fault, and well where it has none.
func (p *Platform) fail(w http.ResponseWriter, request *http.Request, r *Request, attempt int, ok receipt) {
	switch r.Fault {
	case FaultRateSeconds:
		w.Header().Set("Retry-After", strconv.Itoa(1+attempt%3))
		answer(w, http.StatusTooManyRequests, refused("rate_limited", "too many requests"))
	case FaultRateDate:
		// Whole seconds, rounded up, so that it never lies in the past.
		at := time.Now().Add(time.Duration(2+attempt%2) * time.Second).UTC()
		w.Header().Set("Retry-After", at.Format(http.TimeFormat))
		answer(w, http.StatusTooManyRequests, refused("rate_limited", "too many requests"))
	case FaultUnavailable:
		answer(w, http.StatusServiceUnavailable, refused("unavailable", "down for maintenance"))
	case FaultHang, FaultHangAfter:
		p.wait(request, p.faults.Hang)
		reset(w)
	case FaultReset, FaultResetAfter:
		reset(w)
	case FaultSlow:
		p.wait(request, p.faults.wait(r.Key, attempt))
		answer(w, http.StatusOK, ok)
	case FaultGarbage:
		raw(w, "\x16\x03\x01 <html>Bad Gateway\x00\r\n\r\n")
	case FaultCut:
		raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\r\n{\"id\":%q,", ok.ID))
	default:
		answer(w, http.StatusOK, ok)
	}
}

func refused(code, message string) map[string]any {
	return map[string]any{"error": refusal{Code: code, Message: message}}
}

// wait returns after d, or as soon as the caller or the platform goes.
func (p *Platform) wait(request *http.Request, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-request.Context().Done():
	case <-p.closing:
	}
}

// reset ends the connection by a TCP reset, so that the caller cannot take it for
// an orderly end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// raw writes the bytes as they are and ends the connection.
func raw(w http.ResponseWriter, bytes string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = conn.Write([]byte(bytes))
	_ = conn.Close()
}
