package outbox

import (
	"encoding/json"
	"reflect"
	"testing"
)

// What is written by hand is what a decoder reads back, whatever of a detail is set.
func TestDetail_JSON(t *testing.T) {
	for _, d := range []Detail{
		{},
		{Status: 204},
		{Rule: "success"},
		{Status: -1, Rule: "2xx, taken"},
		{Status: 200, Rule: `said "no" \`},
		{Status: 200, Rule: "<a> & b"},
		{Status: 200, Rule: "sukses ✓"},
		{Rule: "a\tb\x7f"},
	} {
		want, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.json(); got == nil && string(want) != "{}" || got != nil && *got != string(want) {
			t.Errorf("%+v makes %v, want %s", d, got, want)
		}
	}
	fields := reflect.TypeFor[Detail]()
	for i := range fields.NumField() {
		d := Detail{Status: 200, Rule: "taken"}
		switch field := reflect.ValueOf(&d).Elem().Field(i); field.Kind() {
		case reflect.Int:
			field.SetInt(7)
		case reflect.String:
			field.SetString("x")
		case reflect.Bool:
			field.SetBool(true)
		default:
			field.Set(reflect.ValueOf(map[string]string{"x": "y"}))
		}
		var got Detail
		if err := json.Unmarshal([]byte(*d.json()), &got); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("with %s: %s, %v", fields.Field(i).Name, *d.json(), err)
		}
	}
}

func BenchmarkDetail_JSON(b *testing.B) {
	d := Detail{Status: 204, Rule: "success"}
	b.ReportAllocs()
	for b.Loop() {
		d.json()
	}
}
