package outbox_test

import (
	"reflect"
	"testing"

	"raffsync/outbox"
)

// What a process has appended itself its dispatcher has without reading it, each delivery
// once, and exactly as it would have been read.
func TestReplica_LoadOfWhatIsRecent(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books", "stock")
	w := s.writer()
	s.append(w, s.named(manyEntries(s, "copied"))...)
	s.append(w, s.named(manyEntries(s, "stated")[:outbox.CopyFrom-1])...)
	s.append(w, s.entry("nameless", "order/1", "books"))
	d := s.dispatcher()
	elsewhere := newShopAt(t, s.dsn, outbox.Config{}, "books", "stock").join()
	for _, destination := range []string{"books", "stock"} {
		open := d.open(destination)
		stored, err := elsewhere.Load(t.Context(), open)
		if err != nil {
			t.Fatal(err)
		}
		s.exec(`ALTER TABLE events RENAME TO hidden`)
		var known []*outbox.Delivery
		for i, event := range stored {
			if event.ID == "nameless" {
				continue // the table has its source's name
			}
			event.Source = s.source
			stored[len(known)] = stored[i]
			known = append(known, open[i])
		}
		recent, err := d.Load(t.Context(), known)
		if err != nil {
			t.Fatalf("the table is asked: %v", err)
		}
		for i, event := range recent {
			if !reflect.DeepEqual(event, stored[i]) {
				t.Errorf("%s: recent %+v, stored %+v", destination, event, stored[i])
			}
		}
		if _, err := d.Load(t.Context(), known[:1]); err == nil {
			t.Errorf("%s: a delivery has its event twice without reading it", destination)
		}
		s.exec(`ALTER TABLE hidden RENAME TO events`)
	}
}

// named are entries whose source's name is known.
func (s *shop) named(entries []outbox.Entry) []outbox.Entry {
	for i := range entries {
		entries[i].SourceName = "till"
	}
	return entries
}
