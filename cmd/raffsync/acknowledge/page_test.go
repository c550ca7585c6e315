package acknowledge

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/explain"
)

// desk notes what it is asked for.
type desk struct {
	stamp
	asked []outbox.AcknowledgeRequest
	actor outbox.Actor
	err   error
}

func (d *desk) Acknowledge(_ context.Context, a outbox.Actor, q outbox.AcknowledgeRequest) (outbox.Acknowledged, error) {
	d.asked, d.actor = append(d.asked, q), a
	return outbox.Acknowledged{Until: q.Until}, d.err
}

func TestHandler(t *testing.T) {
	link := Link(stamp("k"), "", Claim{"kopi", 42, "mailto:ops@example.com", now.Add(valid), 90 * time.Minute})
	for name, c := range map[string]struct {
		method, token string
		after         time.Duration
		err           error
		status        int
		says          string
		asked         int
	}{
		"Looks":       {method: "GET", status: 200, says: "for 90 minutes. Nothing else is changed"},
		"LooksHead":   {method: "HEAD", status: 200},
		"Takes":       {method: "POST", status: 200, says: "You have taken it up", asked: 1},
		"Old":         {method: "GET", after: valid, status: 410, says: "expired"},
		"OldTakes":    {method: "POST", after: valid, status: 410, says: "expired"},
		"Forged":      {method: "POST", token: "x.y", status: 403, says: "not valid"},
		"None":        {method: "GET", token: "-", status: 403, says: "not valid"},
		"Long":        {method: "POST", token: strings.Repeat("x", 10_000), status: 403, says: "not valid"},
		"Over":        {method: "POST", err: &outbox.Refusal{Message: "over"}, status: 409, says: "over already", asked: 1},
		"Gone":        {method: "POST", err: outbox.ErrNotFound, status: 404, says: "no such exception", asked: 1},
		"Down":        {method: "POST", err: errors.New("dial 10.0.0.5: refused"), status: 503, says: "does not work right now", asked: 1},
		"OtherMethod": {method: "PUT", status: 405},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			d := &desk{stamp: "k", err: c.err}
			h := Handler(Config{
				Store: d, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return now.Add(c.after) },
				Title: func(context.Context, string, int64, explain.Language) (string, error) {
					return "No mapping for <b>sku</b>", nil
				},
			})
			at := c.token
			if at == "" {
				at = token(t, link)
			}
			r := httptest.NewRequest(c.method, Path+"?t="+url.QueryEscape(at), nil)
			if c.method == "POST" {
				r = httptest.NewRequest(c.method, Path, strings.NewReader(url.Values{"t": {at}}.Encode()))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || len(d.asked) != c.asked {
				t.Errorf("%d, asked %d times\n%s", w.Code, len(d.asked), w.Body)
			}
			if strings.Contains(w.Body.String(), "<b>") || strings.Contains(w.Body.String(), "10.0.0.5") || strings.Contains(log.String(), at) {
				t.Errorf("it shows what it must not\n%s\n%s", w.Body, log.String())
			}
			if c.status != http.StatusMethodNotAllowed && (w.Header().Get("Referrer-Policy") != "no-referrer" || w.Header().Get("Cache-Control") != "no-store") {
				t.Errorf("headers %v", w.Header())
			}
			if name == "Takes" && (d.actor.Name != "mailto:ops@example.com" || d.actor.Tenant != "kopi" || d.asked[0].Exception != 42 || !d.asked[0].Until.Equal(now.Add(90*time.Minute))) {
				t.Errorf("%+v by %+v", d.asked, d.actor)
			}
		})
	}
}
