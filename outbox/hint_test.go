package outbox_test

import (
	"context"
	"log/slog"
	"testing"

	"raffsync/outbox"
)

// listen has the store hear hints until the test ends, and returns once so many
// listen, this one included.
func (s *shop) listen(listeners int) <-chan outbox.Hint {
	s.t.Helper()
	heard := make(chan outbox.Hint, 1000)
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.RunHints(ctx, slog.New(slog.NewTextHandler(s.t.Output(), nil)), func(h outbox.Hint) { heard <- h })
	}()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	s.untilListening(listeners)
	return heard
}

func (s *shop) untilListening(listeners int) {
	s.t.Helper()
	s.until(`SELECT count(*) >= $1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'raffsync hints' AND query = 'LISTEN raffsync' AND state = 'idle'`, listeners)
}

func TestStore_Hints(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	s.Hint(outbox.Hint{Lanes: []int16{1}}) // nobody sends hints yet: no harm
	heard := s.listen(1)
	other := newShopAt(t, s.dsn, outbox.Config{}, "books")
	ears := other.listen(2)

	lanes := make(map[int16]bool)
	gather := func(from <-chan outbox.Hint, want int) {
		t.Helper()
		for len(lanes) < want {
			select {
			case h := <-from:
				for _, lane := range h.Lanes {
					lanes[lane] = true
				}
			case <-t.Context().Done():
				t.Fatalf("lanes %v, want %d of them", lanes, want)
			}
		}
	}
	for lane := range int16(64) {
		s.Hint(outbox.Hint{Lanes: []int16{lane}})
	}
	gather(heard, 64)
	clear(lanes)
	gather(ears, 64)

	t.Run("TellOfAConfiguration", func(t *testing.T) {
		s.apply(configuration("kopi", "books", "stock"))
		for h := range ears {
			if h.Configuration {
				break
			}
		}
	})

	t.Run("TellOfWhatAnOperatorDid", func(t *testing.T) {
		d := s.dispatcher()
		a := d.deliveryOf("e1", "order/1", "books")
		s.skip(a, "request 1")
		for h := range ears {
			if len(h.Lanes) == 1 && h.Lanes[0] == a.Lane {
				break
			}
		}
	})

	t.Run("GoOnAfterTheirSessionIsEnded", func(t *testing.T) {
		// They are seen for a moment longer, and what is told then is lost, as it may be.
		ended := column[int32](s, `
WITH listening AS MATERIALIZED (SELECT pid FROM pg_stat_activity WHERE application_name = 'raffsync hints' AND datname = current_database())
SELECT pid FROM listening WHERE pg_terminate_backend(pid)`)
		s.until(`SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'raffsync hints' AND query = 'LISTEN raffsync' AND state = 'idle' AND pid <> ALL ($1)`, ended)
		clear(lanes)
		s.Hint(outbox.Hint{Lanes: []int16{63}})
		gather(ears, 1)
	})
}
