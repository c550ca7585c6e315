package outbox_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// What one event's value does to Postgres costs its neighbours nothing.
func TestWriter_AppendRefuses(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books")

	t.Run("AValueThatIsTooLargeForAnIndex", func(t *testing.T) {
		s := shop.emptied(t)
		large := s.entry("large", "order/1", "books")
		large.Event.References = map[string]string{"order": hex.EncodeToString(noise(8000))}
		got := s.append(s.writer(), s.entry("a", "order/1", "books"), large, s.entry("b", "order/1", "books"))
		if diff := cmp.Diff([]outbox.Verdict{outbox.Appended, outbox.Refused, outbox.Appended}, got); diff != "" {
			t.Errorf("verdicts (-want +got):\n%s", diff)
		}
	})

	t.Run("TheTwinOfOneThatItRefused", func(t *testing.T) {
		s := shop.emptied(t)
		bad := s.entry("twin", "order/1", "books")
		bad.Event.Outlet = "mall\x00"
		badID := s.entry("id\x00", "order/1", "books")
		results, err := s.writer().Append(t.Context(), []outbox.Entry{bad, s.entry("twin", "order/1", "books"), badID, badID, s.entry("a", "order/1", "books")})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []outbox.Verdict{outbox.Refused, outbox.Refused, outbox.Refused, outbox.Refused, outbox.Appended} {
			if results[i].Verdict != want || (want == outbox.Refused) != strings.Contains(results[i].Reason, "0x00") {
				t.Errorf("entry %d: verdict %v because of %q, want %v", i, results[i].Verdict, results[i].Reason, want)
			}
		}
	})

	t.Run("AConflictThatItCannotKeep", func(t *testing.T) {
		s := shop.emptied(t)
		w := s.writer()
		var batch []outbox.Entry
		for i := range 9 {
			batch = append(batch, s.entry(fmt.Sprint("e", i), "order/1", "books"))
		}
		s.append(w, batch...)
		for i := range batch {
			batch[i].Event.Type = "order.paid"
		}
		batch[4].Event.Outlet = "mall\x00"
		got := s.append(w, batch...)
		for i, v := range got {
			want := outbox.Conflicting
			if i == 4 {
				want = outbox.Refused
			}
			if v != want {
				t.Errorf("entry %d: verdict %v, want %v", i, v, want)
			}
		}
		if held := one[int](s, `SELECT held::int FROM exceptions`); held != 8 {
			t.Errorf("the exception counts %d, want 8", held)
		}
	})

	// What is wrong with the database is not the event's fault: were it refused, its
	// client would take it for invalid and throw it away.
	t.Run("NothingForAMissingPartition", func(t *testing.T) {
		s := shop.emptied(t)
		w := s.writer()
		partitions := column[string](s, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass`)
		for _, p := range partitions {
			s.exec(`ALTER TABLE events DETACH PARTITION ` + p)
			s.exec(`DROP TABLE ` + p)
		}
		results, err := w.Append(t.Context(), []outbox.Entry{s.entry("a", "order/1", "books")})
		if err == nil {
			t.Fatalf("results %+v without an error", results)
		}
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.append(w, s.entry("a", "order/1", "books")); got[0] != outbox.Appended {
			t.Errorf("verdict %v once there is a partition, want appended", got[0])
		}
	})
}

func TestWriter_KeepsConflictsOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	w := s.writer()
	first := s.entry("e1", "order/1", "books")
	other := first
	other.Event.Type = "order.paid"
	s.append(w, first, other)
	// A person dealt with it; the source sends it once more.
	s.exec(`UPDATE exceptions SET status = 'DISMISSED', closed_at = now()`)
	if got := s.append(w, other); got[0] != outbox.Conflicting {
		t.Errorf("verdict %v, want conflicting", got[0])
	}
	if n := one[int](s, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL`); n != 0 {
		t.Errorf("%d exceptions are open that hold nothing", n)
	}
	third := first
	third.Event.Type = "order.cancelled"
	s.append(w, third, other)
	if held := one[int](s, `SELECT held::int FROM exceptions WHERE closed_at IS NULL`); held != 1 {
		t.Errorf("the new exception counts %d, want the new content only", held)
	}
	if n := one[int](s, `SELECT sum(conflicts)::int FROM tallies`); n != 2 {
		t.Errorf("the tallies count %d conflicts, want 2", n)
	}
}

// Two brokers get the same events, in different orders, with conflicts among them.
func TestWriter_WritersDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books", "stock")
	const n = 200
	var batch []outbox.Entry
	for i := range n {
		batch = append(batch, s.entry(fmt.Sprintf("e%03d", i), fmt.Sprint("order/", i%7), "books", "stock"))
	}
	reversed := slices.Clone(batch)
	slices.Reverse(reversed)
	for i := range reversed {
		if i%10 == 0 {
			reversed[i].Event.Type = "order.paid"
		}
	}
	writers := make([]*outbox.Writer, 4)
	for i := range writers {
		w, err := s.OpenWriter(t.Context(), 1) // one row of the tallies for all
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close(t.Context())
		writers[i] = w
	}
	var appended [4]int
	var all sync.WaitGroup
	for i, w := range writers {
		entries := batch
		if i%2 == 1 {
			entries = reversed
		}
		all.Go(func() {
			for part := range slices.Chunk(entries, 50) {
				results, err := w.Append(t.Context(), part)
				if err != nil {
					t.Errorf("writer %d: %v", i, err)
					return
				}
				for _, r := range results {
					if r.Verdict == outbox.Appended {
						appended[i]++
					}
				}
			}
		})
	}
	all.Wait()
	if sum := appended[0] + appended[1] + appended[2] + appended[3]; sum != n {
		t.Errorf("%v were appended, %d in all, want %d", appended, sum, n)
	}
	if got := one[int](s, `SELECT count(*) FROM events`); got != n {
		t.Errorf("%d events, want %d", got, n)
	}
	if got := one[int](s, `SELECT sum(accepted)::int FROM tallies WHERE destination = 0`); got != n {
		t.Errorf("the tallies count %d, want %d", got, n)
	}
}
