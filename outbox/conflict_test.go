package outbox_test

import (
	"fmt"
	"sync"
	"testing"

	"raffsync/outbox"
)

// again is the entries with other content.
func again(entries []outbox.Entry, kind string) []outbox.Entry {
	other := make([]outbox.Entry, len(entries))
	for i, e := range entries {
		e.Event.Type = kind
		other[i] = e
	}
	return other
}

func (s *shop) entries(n int) []outbox.Entry {
	entries := make([]outbox.Entry, n)
	for i := range entries {
		entries[i] = s.entry(fmt.Sprintf("e%04d", i), fmt.Sprint("order/", i%7), "books")
	}
	return entries
}

// However many there are, they make one change of their exception.
func TestWriter_KeepsTheConflictsOfASourceAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	w := s.writer()
	entries := s.entries(500)
	entries[3].Event.References = map[string]string{"order": "1042"}
	s.append(w, entries...)
	s.append(w, again(entries, "order.paid")...)
	type exception struct {
		Held, Version int
		Opened        int
	}
	look := func() exception {
		rows, err := s.db.Query(t.Context(), `SELECT held::int, version, (SELECT count(*)::int FROM timeline WHERE what = 'exception' AND exception = e.id) FROM exceptions e`)
		if err != nil {
			t.Fatal(err)
		}
		all := collect[exception](t, rows)
		if len(all) != 1 {
			t.Fatalf("%d exceptions, want one", len(all))
		}
		return all[0]
	}
	if got, want := look(), (exception{Held: 500, Version: 1, Opened: 1}); got != want {
		t.Errorf("the exception is %+v, want %+v", got, want)
	}
	s.append(w, again(entries, "order.cancelled")...)
	if got, want := look(), (exception{Held: 1000, Version: 2, Opened: 1}); got != want {
		t.Errorf("the exception is %+v, want %+v", got, want)
	}
	if n := one[int](s, `SELECT count(*) FROM conflicts c JOIN exceptions e ON e.id = c.exception JOIN events v ON v.seq = c.first_seq AND v.id = c.id AND v.accepted_at = c.first_at`); n != 1000 {
		t.Errorf("%d contents are kept under their exception, want 1000", n)
	}
	if n := one[int](s, `SELECT count(*) FROM timeline t JOIN conflicts c ON c.first_seq = t.event AND c.exception = t.exception WHERE t.what = 'conflict' AND c.type = 'order.paid'`); n != 1000 {
		t.Errorf("%d entries of the events, want 2 for each of 500", n)
	}
	if refs := one[string](s, `SELECT refs->>'order' FROM conflicts WHERE id = 'e0003' AND type = 'order.paid'`); refs != "1042" {
		t.Errorf("kept references %q", refs)
	}
	if n := one[int](s, `SELECT sum(conflicts)::int FROM tallies`); n != 1000 {
		t.Errorf("the tallies count %d", n)
	}
}

// Somebody holds a source's exception, for as long as this batch takes and longer.
func TestWriter_ConflictsThatCannotBeKeptDelayNoStranger(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	w := s.writer()
	entries := s.entries(3)
	s.append(w, entries...)
	s.append(w, again(entries[:1], "order.paid")...)
	person, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer person.Rollback(t.Context())
	if _, err := person.Exec(t.Context(), `SELECT FROM exceptions FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	batch := append(again(entries[1:], "order.paid"), s.entry("stranger", "order/9", "books"), entries[0])
	got := s.append(w, batch...)
	want := []outbox.Verdict{outbox.Deferred, outbox.Deferred, outbox.Appended, outbox.Duplicate}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d: verdict %v, want %v", i, got[i], want[i])
		}
	}
	if n := one[int](s, `SELECT count(*) FROM conflicts`); n != 1 {
		t.Errorf("%d contents are kept, want none of those that were deferred", n)
	}
	if err := person.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, v := range s.append(w, batch[:2]...) {
		if v != outbox.Conflicting {
			t.Errorf("entry %d, sent again: verdict %v, want conflicting", i, v)
		}
	}
	if held := one[int](s, `SELECT held::int FROM exceptions`); held != 3 {
		t.Errorf("the exception counts %d, want 3", held)
	}
}

// Writers keep conflicts of one source while a person dismisses its exception, again and
// again: each content is counted by the exception that it is kept under.
func TestWriter_ConflictsAreCountedWhereTheyAreKept(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	entries := s.entries(300)
	s.append(s.writer(), entries...)
	var writers sync.WaitGroup
	for i, kind := range []string{"order.paid", "order.cancelled", "order.paid"} {
		w, err := s.OpenWriter(t.Context(), int64(i))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close(t.Context())
		writers.Go(func() {
			for from := 0; from < len(entries); from += 10 {
				for due := again(entries[from:from+10], kind); len(due) > 0; {
					results, err := w.Append(t.Context(), due)
					if err != nil {
						t.Errorf("writer %d: %v", i, err)
						return
					}
					var left []outbox.Entry
					for n, r := range results {
						switch r.Verdict {
						case outbox.Deferred:
							left = append(left, due[n])
						case outbox.Conflicting:
						default:
							t.Errorf("writer %d: verdict %v", i, r.Verdict)
						}
					}
					due = left
				}
			}
		})
	}
	kept := make(chan struct{})
	go func() { writers.Wait(); close(kept) }()
	for done := false; !done; {
		select {
		case <-kept:
			done = true
		default:
			s.exec(`UPDATE exceptions SET status = 'DISMISSED', closed_at = now() WHERE closed_at IS NULL`)
		}
	}
	if n := one[int](s, `SELECT count(*) FROM conflicts`); n != 600 {
		t.Errorf("%d contents are kept, want 600", n)
	}
	if n := one[int](s, `SELECT count(*) FROM exceptions e WHERE held = 0 OR held <> (SELECT count(*) FROM conflicts c WHERE c.exception = e.id)`); n != 0 {
		t.Errorf("%d exceptions count something else than they hold", n)
	}
	if n := one[int](s, `SELECT count(*) FROM exceptions e WHERE 1 <> (SELECT count(*) FROM timeline t WHERE t.exception = e.id AND t.what = 'exception')`); n != 0 {
		t.Errorf("%d exceptions were not opened once in the timeline", n)
	}
	t.Logf("%d exceptions", one[int](s, `SELECT count(*) FROM exceptions`))
}
