package broker

import (
	"errors"
	"strings"
	"testing"

	"raffsync/connectors/mapping"
	"raffsync/outbox"
)

func TestCompileEffect(t *testing.T) {
	e := &outbox.Event{ID: "e1", Type: "order.created", ContentType: "application/json", Payload: []byte(`{"data":{"id":9007199254740993,"number":"A-7","none":null,"t":"2026-11-23T10:00:00Z"}}`)}
	for text, want := range map[string]string{
		"order":                                 "order",
		"order/${body.data.id}":                 "order/9007199254740993",
		"${event.type}/${body.data.number}/x":   "order.created/A-7/x",
		`order/${ {"a": "}"}["a"] }`:            "order/}",
		`order/${"a\"}" + body.data.number}`:    `order/a"}A-7`,
		"at/${timestamp(body.data.t)}":          "at/2026-11-23T10:00:00Z",
		"$order/$${event.id}":                   "$order/${event.id}",
		"order/${body.data.missing}":            "!it reads something that is not there",
		"order/${body.data.none}":               "!it reads something that is not there",
		"order/${body.data}":                    "!and got map",
		"${body.data.number.substring(0, 0)}":   "!",
		"order/${body.data.number + '\\u0000'}": "!1 to 200 bytes",
		strings.Repeat("x", 201):                "!1 to 200 bytes",
	} {
		effect, err := CompileEffect(text)
		if err != nil {
			if want != "!" {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		got, err := effect(e)
		if message, fails := strings.CutPrefix(want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), message) {
				t.Errorf("%s: %q, %v; want an error with %q", text, got, err, message)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	if effect, err := CompileEffect(""); effect != nil || err != nil {
		t.Errorf("no effect: %v", err)
	}
}

// What may be another thing tomorrow names no effect.
func TestCompileEffect_OfTheEventAlone(t *testing.T) {
	for text, want := range map[string]string{
		"a/${lookup('sku', body.n)}":                    "line 1, column 11: lookup() cannot be used here: the name of an effect is made of the event alone",
		"a/${lookup('sku', body.n, {default: body.n})}": "lookup() cannot be used here",
		"a/${reference(20)}":                            "reference() cannot be used here",
		"a/${steps.order.receipt.id}":                   "line 1, column 5: steps cannot be used here: the name of an effect",
		"a/${has(steps.order) ? 'a' : 'b'}":             "steps cannot be used here",
		"a/${steps['order'].receipt.id}":                "steps cannot be used here",
		"a/${existing.id}":                              "existing cannot be used here",
	} {
		if _, err := CompileEffect(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestCompileEffect_SaysWhere(t *testing.T) {
	for text, want := range map[string][2]int{
		"order/${event.idd}":             {1, 14},
		"ünd/${event.id}/${event.idd}":   {1, 24},
		"a\nb ${event.idd}":              {2, 10},
		"a ${event.id":                   {1, 3},
		"a ${event.id +\n event.idd} ${": {2, 7},
	} {
		_, err := CompileEffect(text)
		var wrong *mapping.SyntaxError
		if !errors.As(err, &wrong) || wrong.Line != want[0] || wrong.Column != want[1] {
			t.Errorf("%q: %v at %+v, want %v", text, err, wrong, want)
		}
	}
}

func TestCheckRoutes_Steps(t *testing.T) {
	c := outbox.Configuration{
		Tenant: "kopi", Sources: []outbox.SourceConfig{{Name: "till"}}, Destinations: []outbox.DestinationConfig{{Name: "books"}},
		Routes: []outbox.RouteConfig{{Name: "sales", To: "books", Steps: []outbox.StepConfig{
			{Name: "one", Effect: "order/${body.id}"}, {Name: "two", Effect: "order/${"}, {Name: "three", Effect: "order/${body.id}"}, {Name: "four"}, {Name: "five"},
		}}},
	}
	_, err := CheckRoutes(c)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if !strings.Contains(text, "steps[1].effect: ") || !strings.Contains(text, `steps[2].effect: step "one" names the same effect`) || strings.Contains(text, "steps[4]") {
		t.Errorf("faults: %s", text)
	}
}
