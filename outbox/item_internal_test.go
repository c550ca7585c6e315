package outbox

import (
	"cmp"
	"crypto/rand"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// All batches keep one order of ids, whatever they begin with; twins stand together, the
// earliest first.
func TestSortedByID(t *testing.T) {
	t.Parallel()
	ids := rapid.OneOf(
		rapid.SampledFrom([]string{"", "a", "a\x00", "a\x00\x01", "order/1042", "order/10", "order/1042/created", "é", "\xff"}),
		rapid.StringMatching(`order/1?[0-9]{1,3}`), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		var items []*item
		for arrival, id := range rapid.SliceOfN(ids, 0, 50).Draw(t, "ids") {
			e := &Entry{Event: Event{ID: id, Source: rapid.Int32Range(1, 2).Draw(t, "source"), Tenant: rapid.SampledFrom([]string{"kopi", "teh"}).Draw(t, "tenant")}}
			items = append(items, &item{entry: e, arrival: arrival})
		}
		want := slices.SortedStableFunc(slices.Values(items), compareIDs)
		if got := sortedByID(items); !slices.Equal(got, want) {
			for i := range got {
				t.Logf("%d: %q of %d, want %q of %d", i, got[i].entry.Event.ID, got[i].arrival, want[i].entry.Event.ID, want[i].arrival)
			}
			t.Fatal("out of order")
		}
		if !slices.IsSortedFunc(items, func(a, b *item) int { return cmp.Compare(a.arrival, b.arrival) }) {
			t.Fatal("the items no longer stand as they arrived")
		}
	})
}

func BenchmarkSortedByID(b *testing.B) {
	items := make([]*item, 4096)
	for i := range items {
		items[i] = &item{entry: &Entry{Event: Event{ID: rand.Text()}}, arrival: i}
	}
	for b.Loop() {
		sortedByID(items)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(items)), "ns/event")
}
