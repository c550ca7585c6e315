package broker

import (
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// panicking rules fail over every event that does not pass at a glance.
type panicking struct{ protovalidate.Validator }

func (p panicking) Validate(m proto.Message, options ...protovalidate.ValidationOption) error {
	if _, ok := m.(*raffsyncv1.Event); ok {
		panic("a bug")
	}
	return p.Validator.Validate(m, options...)
}

// A panic over one event costs its neighbours nothing, and the budget nothing.
func TestIntake_PanicOverAnEvent(t *testing.T) {
	h := newHouse(t, func(_ *Config, b *Broker) {
		if b != nil {
			b.intake.validator.rules = panicking{b.intake.validator.rules}
		}
	})
	strange := events("a", 3)
	strange[1].ContentType = "application/vnd.shop+json"
	s := h.open()
	s.batch(strange...)
	results := s.acked(1)
	if diff := cmp.Diff([]string{"1/1 INVALID"}, outcomes(results)); diff != "" {
		t.Error(diff)
	}
	if len(results) == 1 && (!strings.Contains(results[0].Fix, "its log tells more") || strings.Contains(results[0].String(), "a bug")) {
		t.Errorf("the client is told %v", results[0])
	}
	if said := h.log.String(); !strings.Contains(said, "panic over an event") || !strings.Contains(said, "event=a-1") {
		t.Errorf("the log says:\n%s", said)
	}
	if n := one[int](h, `SELECT count(*) FROM events`); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	h.stop()
	h.forgets()
}

func TestIntake_PanicOverABatchGivesItsCostBack(t *testing.T) {
	v, err := NewValidator(1000)
	if err != nil {
		t.Fatal(err)
	}
	in := intake{validator: v, budget: budget{limit: 1 << 20}, lanes: 64} // and no committer, which is the bug
	err = guard(func() error {
		_, _, err := in.admit(outbox.Credential{Tenant: "kopi"}, rawBatch{events: [][]byte{encode(t, event("a", "k"))}}, nil)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("it ended with %v, want the panic", err)
	}
	if n := in.budget.held.Load(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
}

func TestRefusedBecause(t *testing.T) {
	e := &outbox.Event{ID: "1", Type: "order.created", OrderingKey: "order/1", Outlet: "mall\x00", References: map[string]string{"order": strings.Repeat("x", 9000)}}
	for name, test := range map[string]struct {
		state string
		want  *raffsyncv1.FieldViolation
	}{
		"NUL":     {"22021", violation("outlet", "must not hold a NUL character")},
		"TooLong": {"54000", violation(`references["order"]`, "is too long to be indexed: it has 9000 bytes")},
		"Other":   {"22023", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := refusedBecause(outbox.Result{Verdict: outbox.Refused, Reason: "the index of table events", State: test.state}, e)
			var want []*raffsyncv1.FieldViolation
			if test.want != nil {
				want = append(want, test.want)
			}
			if len(got) != len(want) || len(got) == 1 && !proto.Equal(got[0], want[0]) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
