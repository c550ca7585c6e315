package recipe_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"raffsync/connectors"
)

const triedRecipe = `
recipe:
  url: https://ledger.example/v1
  rules: [{name: done, status: 2xx, kind: DELIVERED}]
  answers: [{name: made, status: 200, body: {id: 1}, expect: {kind: DELIVERED, rule: done}}]
  calls:
    order:
      url: "/orders/${body.area}"
      query: {q: "${body.q}"}
      headers: {X-Order: "${event.id}"}
      body: form
      map: {sku: "${lookup('sku', body.sku)}", note: "${body.note}", again: "${existing.id}"}
      receipt: {id: $.id}
      find: {url: "/orders/${body.area}", items: "$.items[*]", where: {$.ref: "${body.ref}"}}
      update: {url: "/orders/${existing.id}", map: {note: "${body.note}", old: "${body.total + 1 + int(existing.n)}"}, find: {url: "/orders/${existing.id}", items: "$.items[*]", where: {$.total: "${body.total}", $.n: "${steps.before.receipt.n}"}}}
`

// Every part that could ever be made of a step is tried: what updates the effect and what
// asks about it, too.
func TestTry(t *testing.T) {
	d := build(t, readYAML(t, []byte(triedRecipe)))
	told := func(data string, index int) (all []string) {
		for _, one := range d.(connectors.Trier).Try(t.Context(), connectors.Step{
			Event: &connectors.Event{ID: "e-1", Type: "order.paid", ContentType: "application/json", Data: []byte(data)}, Index: index, Effect: "order/1",
		}) {
			for _, m := range one.Missing {
				all = append(all, fmt.Sprintf("%s misses %s %s", m.Path, m.Table, m.Value))
			}
			for _, place := range one.LeftOut {
				all = append(all, place+" is left out")
			}
			if one.Err != nil {
				all = append(all, one.Field+": "+one.Err.Error())
			}
		}
		return all
	}
	for _, c := range []struct {
		data  string
		index int
		want  []string
	}{
		{`{"area": "a", "q": "1", "sku": "LATTE", "note": "n", "ref": "r", "total": 5}`, 0, []string{"map.sku misses sku LATTE", "update.map.sku misses sku LATTE"}},
		{`{"area": "a", "note": {"no": "text"}, "ref": "r", "total": 5}`, 0, []string{"map.sku is left out"}},
		{`{"area": "a", "note": "n", "total": "x"}`, 1, []string{
			"map.sku is left out", "find.where.$.ref: it reads something that is not there", "update.map.old: it compares or combines values of types that do not go together (no such overload)",
		}},
		{`{"note": "n", "ref": "r", "total": 5}`, 0, []string{"url: it reads something that is not there", "map.sku is left out", "find.url: it reads something that is not there"}},
		{`{"area": "..", "ref": "r", "total": 5}`, 0, []string{
			"url: what the event gives for a part of the path is empty, or dots only: that would be the path of another thing", "map.note is left out", "map.sku is left out",
			"find.url: what the event gives for a part of the path is empty, or dots only: that would be the path of another thing",
		}},
		{`no JSON`, 0, nil},
	} {
		got := told(c.data, c.index)
		if c.want == nil && (len(got) == 0 || !strings.Contains(got[0], "the payload is not JSON")) || c.want != nil && !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.data, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
	}
}
