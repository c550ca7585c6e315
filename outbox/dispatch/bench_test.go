package dispatch_test

import (
	"fmt"
	"slices"
	"testing"

	"raffsync/outbox"
)

// BenchmarkDispatcher_Drain is one replica that delivers what is there, 20,000 events
// of as many keys as said, to a destination that answers at once. The tests' server
// does not sync.
func BenchmarkDispatcher_Drain(t *testing.B) {
	for _, keys := range []int{20_000, 200} {
		t.Run(fmt.Sprintf("Keys%d", keys), func(t *testing.B) {
			const n = 20_000
			delivered := 0
			for t.Loop() {
				t.StopTimer()
				b := newBench(t, map[string]*platform{"books": newPlatform(nil)})
				b.destination("books").Concurrency = 256
				var all []outbox.Entry
				for i := range n {
					all = append(all, b.entry("sales", fmt.Sprintf("e%06d", i), fmt.Sprintf("order/%d", i%keys), "books"))
				}
				for part := range slices.Chunk(all, 5000) {
					b.append(part...)
				}
				if _, err := b.db.Exec(t.Context(), `ANALYZE`); err != nil {
					t.Fatal(err)
				}
				t.StartTimer()
				_, stop := b.start()
				b.untilDrained()
				t.StopTimer()
				stop()
				delivered += n
				t.StartTimer()
			}
			t.ReportMetric(float64(delivered)/t.Elapsed().Seconds(), "events/s")
		})
	}
}
