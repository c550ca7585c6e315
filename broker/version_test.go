package broker

import (
	"testing"

	"raffsync/outbox"
)

func TestCompileVersion(t *testing.T) {
	t.Parallel()
	if v, err := CompileVersion(""); v != nil || err != nil {
		t.Errorf("no version: %v", err)
	}
	version, err := CompileVersion(`body.n`)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		event outbox.Event
		want  string
		ok    bool
		fails bool
	}{
		"Number":   {event: outbox.Event{Payload: []byte(`{"n": 7}`)}, want: "7", ok: true},
		"Absent":   {event: outbox.Event{Payload: []byte(`{}`)}},
		"NoJSON":   {event: outbox.Event{ContentType: "text/plain", Payload: []byte(`{"n": 7}`)}},
		"Fraction": {event: outbox.Event{Payload: []byte(`{"n": 7.5}`)}, fails: true},
		"Empty":    {event: outbox.Event{Payload: []byte(`{"n": ""}`)}, fails: true},
	} {
		v, ok, err := version(&c.event)
		if v.String() != c.want || ok != c.ok || (err != nil) != c.fails {
			t.Errorf("%s: %q, %v, %v", name, v, ok, err)
		}
	}
}
