package outbox_test

import (
	"testing"
	"time"

	"raffsync/outbox"
)

// silence is what is told of the till's silence: exceptions open, ever opened, resolved.
func (s *shop) silence() [3]int {
	s.t.Helper()
	return [3]int{
		one[int](s, `SELECT count(*) FROM exceptions WHERE class = 'SOURCE_SILENT' AND source = $1 AND closed_at IS NULL`, s.source),
		s.swept("exception"), s.swept("resolved"),
	}
}

// hours makes everything that is known of sources older.
func (s *shop) hours(n int) {
	s.t.Helper()
	s.exec(`UPDATE sources SET heard_at = heard_at - make_interval(hours => $1), watched_since = watched_since - make_interval(hours => $1)`, n)
	s.exec(`UPDATE listening SET since = since - make_interval(hours => $1)`, n)
}

func TestSweeper_Silent(t *testing.T) {
	t.Parallel()
	fresh := newShop(t, "books")
	watched := func(s *shop, after time.Duration) {
		s.t.Helper()
		c := configuration("kopi", "books")
		c.Sources[0].SilentAfter = after
		s.apply(c)
	}
	sweep := func(s *shop, w *outbox.Sweeper, heard *outbox.Heard) {
		s.t.Helper()
		if err := w.Silent(s.t.Context(), heard, time.Second); err != nil {
			s.t.Fatal(err)
		}
	}

	t.Run("TheClockStartsAtApplyForOneThatNeverSpoke", func(t *testing.T) {
		s := fresh.emptied(t)
		w := s.sweeper()
		sweep(s, w, &outbox.Heard{})
		s.hours(5)
		watched(s, time.Hour)
		if sweep(s, w, &outbox.Heard{}); s.silence() != [3]int{} {
			t.Fatalf("at once: %v", s.silence())
		}
		s.hours(2)
		sweep(s, w, &outbox.Heard{})
		sweep(s, s.sweeper(), &outbox.Heard{}) // another process
		if s.silence() != [3]int{1, 1, 0} {
			t.Errorf("after two hours: %v, want one exception, told once", s.silence())
		}
	})

	t.Run("ResolvesWhenItSpeaksAgain", func(t *testing.T) {
		s := fresh.emptied(t)
		w, heard := s.sweeper(), &outbox.Heard{}
		watched(s, time.Hour)
		sweep(s, w, heard)
		s.hours(2)
		sweep(s, w, heard)
		heard.Note(s.source)
		sweep(s, w, heard)
		if s.silence() != [3]int{0, 1, 1} {
			t.Fatalf("after it spoke: %v", s.silence())
		}
		s.hours(2)
		sweep(s, w, heard)
		if s.silence() != [3]int{1, 2, 1} {
			t.Errorf("silent again: %v", s.silence())
		}
		watched(s, 0)
		sweep(s, w, heard)
		if s.silence() != [3]int{0, 2, 2} {
			t.Errorf("not watched any more: %v", s.silence())
		}
	})

	t.Run("OneThatSpeaksAnywhereIsNotSilent", func(t *testing.T) {
		s := fresh.emptied(t)
		here, there := s.sweeper(), s.sweeper()
		watched(s, time.Hour)
		sweep(s, here, &outbox.Heard{})
		s.hours(2)
		heard := &outbox.Heard{}
		heard.Note(s.source)
		sweep(s, there, heard)
		sweep(s, here, &outbox.Heard{})
		if s.silence() != [3]int{} {
			t.Errorf("%v, though another process heard it", s.silence())
		}
	})

	t.Run("NoSourceIsSilentWhileNobodyListened", func(t *testing.T) {
		s := fresh.emptied(t)
		w := s.sweeper()
		watched(s, time.Hour)
		sweep(s, w, &outbox.Heard{})
		s.hours(2)
		s.exec(`UPDATE listening SET still_at = now() - interval '90 minutes'`)
		sweep(s, w, &outbox.Heard{})
		if s.silence() != [3]int{} {
			t.Errorf("%v, though no process ran", s.silence())
		}
	})

	t.Run("ASourceThatComesBackStartsAnew", func(t *testing.T) {
		s := fresh.emptied(t)
		w := s.sweeper()
		watched(s, time.Hour)
		c := configuration("kopi", "books")
		c.Sources[0].Name = "web"
		s.apply(c)
		sweep(s, w, &outbox.Heard{})
		s.hours(3)
		watched(s, time.Hour)
		sweep(s, w, &outbox.Heard{})
		if s.silence() != [3]int{} {
			t.Errorf("%v", s.silence())
		}
	})
}
