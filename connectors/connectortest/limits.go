package connectortest

import (
	"net/http"
	"sync"
	"testing"
)

// limits checks what the dispatcher keeps the limits of a platform by: it lets so many
// Sends go at once, so that no more requests are there, and none is left when they have
// returned. A request counts as over before its answer is written.
func (s *suite) limits(t *testing.T) {
	const slots, each = 4, 8
	p := s.newPlatform(t)
	var mu sync.Mutex
	there, most := 0, 0
	p.answers(func(w http.ResponseWriter, r received) {
		mu.Lock()
		there++
		most = max(most, there)
		mu.Unlock()
		mu.Lock()
		there--
		mu.Unlock()
		s.success(w, r)
	})
	d := s.New(t, p.URL)
	var sent sync.WaitGroup
	for range slots {
		sent.Go(func() {
			for range each {
				request, err := d.Prepare(s.newStep(d))
				if err != nil {
					t.Errorf("Prepare: %v", err)
					return
				}
				before := p.count()
				s.wellFormed(t, d.Send(t.Context(), request))
				if p.count() == before {
					t.Error("Send returned before its request was there")
				}
			}
		})
	}
	sent.Wait()
	if most > slots {
		t.Errorf("%d requests at once of %d Sends", most, slots)
	}
	if n := p.count(); n != slots*each {
		t.Errorf("%d Sends made %d requests", slots*each, n)
	}
}
