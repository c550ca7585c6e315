package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"raffsync/cmd/raffsync/config"
	"raffsync/outbox"
)

// noFile is the field of the model that no file sets, and that is compared to none.
const noFile = "Draining"

// everyField gives, for each single value in a configuration with one of everything,
// a function that changes it. A new field of the model comes in by itself.
func everyField(t *testing.T) map[string]func(*outbox.Configuration) {
	t.Helper()
	changes := map[string]func(*outbox.Configuration){}
	var walk func(path string, t reflect.Type, reach func(reflect.Value) reflect.Value)
	walk = func(path string, of reflect.Type, reach func(reflect.Value) reflect.Value) {
		if of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct {
			walk(path, of.Elem(), func(v reflect.Value) reflect.Value { return reach(v).Index(0) })
			return
		}
		if of.Kind() == reflect.Struct {
			for i := range of.NumField() {
				if of.Field(i).Name == noFile {
					continue
				}
				walk(path+"."+of.Field(i).Name, of.Field(i).Type, func(v reflect.Value) reflect.Value { return reach(v).Field(i) })
			}
			return
		}
		changes[path] = func(c *outbox.Configuration) {
			v := reach(reflect.ValueOf(c).Elem())
			switch v.Kind() {
			case reflect.String:
				v.SetString(v.String() + "x")
			case reflect.Int, reflect.Int64:
				v.SetInt(v.Int() + 1)
			case reflect.Map:
				v.SetMapIndex(reflect.ValueOf("XXX"), reflect.ValueOf(json.Number("2")))
			case reflect.Float64:
				v.SetFloat(v.Float() + 0.125)
			case reflect.Slice:
				if v.Type().Elem().Kind() == reflect.Uint8 {
					v.SetBytes([]byte(`{"changed":true}`))
				} else {
					v.Set(reflect.Append(v, reflect.ValueOf("x")))
				}
			default:
				panic(fmt.Sprintf("%s: teach this test to change a %s", path, v.Type()))
			}
		}
	}
	walk("Configuration", reflect.TypeFor[outbox.Configuration](), func(v reflect.Value) reflect.Value { return v })
	return changes
}

// TestParse_SetsEveryField holds that the format reaches all of the model: in a file
// that sets everything, nothing is at its default.
func TestParse_SetsEveryField(t *testing.T) {
	content, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse("full.yaml", content, options(false))
	if err != nil {
		t.Fatal(err)
	}
	silent := parse(t, `
tenant: silent
sources: {shop: {}}
destinations: {books: {bucket: {path: x}}}
routes: {all: {to: books}}
`)
	full := f.Configuration
	i := slices.IndexFunc(full.Destinations, func(d outbox.DestinationConfig) bool { return d.Name == "stock" })
	differ(t, "destination", reflect.ValueOf(full.Destinations[i]), reflect.ValueOf(silent.Destinations[0]))
	k := slices.IndexFunc(full.Sources, func(s outbox.SourceConfig) bool { return s.Name == "till" })
	differ(t, "source", reflect.ValueOf(full.Sources[k]), reflect.ValueOf(silent.Sources[0]))
	j := slices.IndexFunc(full.Routes, func(r outbox.RouteConfig) bool { return r.Name == "aa-second" })
	differ(t, "route", reflect.ValueOf(full.Routes[1-j]), reflect.ValueOf(silent.Routes[0]), "To")
	differ(t, "listen", reflect.ValueOf(f.Listen), reflect.ValueOf(config.Listen{HTTP: config.DefaultHTTP, GRPC: config.DefaultGRPC}))
	differ(t, "database", reflect.ValueOf(f.Database), reflect.ValueOf(config.Database{}))
}

func differ(t *testing.T, path string, a, b reflect.Value, but ...string) {
	t.Helper()
	if a.Kind() == reflect.Struct {
		for i := range a.NumField() {
			if name := a.Type().Field(i).Name; !slices.Contains(but, name) {
				differ(t, path+"."+name, a.Field(i), b.Field(i))
			}
		}
		return
	}
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		t.Errorf("%s: nothing in testdata/full.yaml sets it; is there a field for it?", path)
	}
}

// TestReference holds the reference against the model and the example against the
// reference.
func TestReference(t *testing.T) {
	// What connectors take is theirs to hold against their own descriptions.
	reference, _, _ := strings.Cut(config.Reference(options(false).Registry), "\n## `auth`")
	var names func(of reflect.Type) []string
	names = func(of reflect.Type) (all []string) {
		for of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct {
			return nil
		}
		for i := range of.NumField() {
			if of.Field(i).Name == noFile {
				continue
			}
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			all = append(all, name)
			all = append(all, names(of.Field(i).Type)...)
		}
		return all
	}
	for _, name := range names(reflect.TypeFor[outbox.Configuration]()) {
		// A name stands before its section, and so does a kind before its settings.
		if !slices.Contains([]string{"name", "kind", "settings"}, name) && !strings.Contains(reference, "| `"+name+"` |") {
			t.Errorf("%s is not in the reference", name)
		}
	}
	for _, kind := range []string{"webhook", "bucket"} {
		if !strings.Contains(reference, "| `"+kind+"` |") {
			t.Errorf("the kind %s is not in the reference", kind)
		}
	}
	for line := range strings.SplitSeq(reference, "\n") {
		if strings.HasPrefix(line, "|") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 5 {
			t.Errorf("no row of four cells: %s", line)
		}
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); ok && strings.HasPrefix(line, "| `") && name != "bucket" {
			if !strings.Contains(config.Example, name+":") {
				t.Errorf("%s is not in the example", name)
			}
		}
	}
}

func TestExample(t *testing.T) {
	t.Setenv("BOOKS_SECRET", signingSecret)
	t.Setenv("DATABASE_URL", "postgres://raffsync@localhost/raffsync")
	f, err := config.Parse("example.yaml", []byte(config.Example), options(true))
	if err != nil || len(f.Warnings) > 0 {
		t.Fatal(err, f)
	}
}
