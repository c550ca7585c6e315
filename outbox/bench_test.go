package outbox_test

import (
	"fmt"
	"testing"
	"time"

	"raffsync/outbox"
)

// BenchmarkWriter_Append is one writer, events of 300 bytes for one destination, each
// with a reference, by the size of the batch. The tests' server does not sync.
func BenchmarkWriter_Append(b *testing.B) {
	for _, size := range []int{1, 64, 1024, 8192} {
		b.Run(fmt.Sprintf("Batch%d", size), func(b *testing.B) {
			s := newShop(b, "books")
			w := s.writer()
			batch := make([]outbox.Entry, size)
			made := 0
			for b.Loop() {
				for i := range batch {
					made++
					e := s.entry(fmt.Sprintf("e%09d", made), fmt.Sprintf("order/%d", made%5000), "books")
					e.Event.References = map[string]string{"order": e.Event.ID}
					e.Event.Payload = fmt.Appendf(nil, `{"id":%q,"text":"%0250d"}`, e.Event.ID, made)
					batch[i] = e
				}
				s.append(w, batch...)
			}
			b.ReportMetric(float64(made)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(made), "µs/event")
		})
	}
}

// BenchmarkReplica_RecordUses keeps the look-ups of as many requests as share a row of
// intents, each of an order of 20 lines.
func BenchmarkReplica_RecordUses(b *testing.B) {
	s := newShop(b, "books")
	d := s.dispatcher()
	made := 0
	for b.Loop() {
		uses := make([]outbox.Using, 512)
		for i := range uses {
			made++
			uses[i].Delivery = &outbox.Delivery{Tenant: "kopi", Destination: 1, Event: outbox.Seq(made), EventAt: time.Now(), Route: "sales"}
			for n := range 20 {
				uses[i].LookedUp = append(uses[i].LookedUp, outbox.LookedUp{
					Table: "sku", Value: fmt.Sprintf("SKU-%05d", (made*7+n*131)%4070), MappingEntry: outbox.MappingEntry{Target: "ITM-12345", Version: 7},
				})
			}
		}
		if err := d.RecordUses(b.Context(), time.Now(), uses); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(made), "µs/request")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(20*made), "µs/lookup")
}

// BenchmarkReplica is what a replica's statements take of each delivery of a batch, in
// steady state: 512 of them over all lanes, none with more to it than that it is sent and
// delivered.
func BenchmarkReplica(b *testing.B) {
	const rows = 512
	s := newShop(b, "books")
	w, d := s.writer(), s.dispatcher()
	leases := d.leases()
	made := 0
	cursors := make([]outbox.Range, s.Lanes())
	writers, err := d.Writers(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for lane := range cursors {
		cursors[lane] = outbox.Range{Lane: int16(lane), Destination: s.destinations["books"], Writer: writers[0].Writer, Limit: rows}
	}
	var read, intend, finish time.Duration
	for b.Loop() {
		batch := make([]outbox.Entry, rows)
		for i := range batch {
			made++
			batch[i] = s.entry(fmt.Sprintf("e%09d", made), fmt.Sprintf("order/%d", made%5000), "books")
		}
		s.append(w, batch...)

		began := time.Now()
		found, _, err := d.Read(b.Context(), writers, cursors)
		read += time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
		var open []*outbox.Delivery
		for lane := range found {
			for i := range found[lane] {
				open = append(open, &found[lane][i])
				cursors[lane].After = found[lane][i].Seq
			}
		}

		began = time.Now()
		stored, err := d.Intend(b.Context(), d.NextBatch(), leases, open)
		intend += time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
		transitions := make([]outbox.Transition, len(open))
		for i := range open {
			transitions[i] = attempt(open[i], outbox.StateDelivered)
			transitions[i].StartedAt, transitions[i].Detail.Status = stored.At, 200
		}

		began = time.Now()
		finished, err := d.Finish(b.Context(), leases, transitions)
		finish += time.Since(began)
		if err != nil || len(finished) != rows {
			b.Fatalf("%d of %d are stored: %v", len(finished), rows, err)
		}
	}
	for name, took := range map[string]time.Duration{"read": read, "intend": intend, "finish": finish} {
		b.ReportMetric(float64(took.Nanoseconds())/1000/float64(made), "µs/"+name)
	}
}
