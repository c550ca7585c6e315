package explain

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Every class that the engine raises has words, in both languages: those of outcome
// kinds, but for the two that are no failures, and those of its own.
func TestExplain_EveryClass(t *testing.T) {
	t.Parallel()
	classes := []string{"RETRIES_EXHAUSTED", "CONFLICT", "LATE", "SOURCE_SILENT", "UNROUTED", "QUARANTINED", "AUTH_EXPIRING", "EFFECT_EXISTS", "NOTICE_FAILED"}
	for number, name := range raffsyncv1.OutcomeKind_name {
		switch raffsyncv1.OutcomeKind(number) {
		case raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED, raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED,
			raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT: // it ends as RETRIES_EXHAUSTED
		default:
			classes = append(classes, strings.TrimPrefix(name, "OUTCOME_KIND_"))
		}
	}
	open := regexp.MustCompile(`\{\w*\}`)
	for _, class := range classes {
		for _, in := range []Language{English, Indonesian} {
			e := Explain(Subject{Class: class, Destination: "books", Source: "till", Table: "sku", Value: "LATTE", Code: "610", Field: "customer", Held: 6}, in)
			if !e.Known {
				t.Errorf("%s has no words in %s", class, in)
			}
			for _, words := range []string{e.Title, e.What, e.Why, e.NextStep, e.TurnName} {
				if words == "" || open.MatchString(words) {
					t.Errorf("%s in %s: %q", class, in, words)
				}
			}
		}
	}
}

// Nothing is said in one language only.
func TestExplain_SameClasses(t *testing.T) {
	t.Parallel()
	en, id := slices.Sorted(maps.Keys(english)), slices.Sorted(maps.Keys(indonesian))
	if !slices.Equal(en, id) {
		t.Errorf("%v\n%v", en, id)
	}
	for class := range english {
		if english[class].turn != indonesian[class].turn {
			t.Errorf("%s is another's turn in each language", class)
		}
	}
	for role := range englishRoles {
		if indonesianRoles[role] == "" {
			t.Errorf("%s has no name in Indonesian", role)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	s := Subject{Class: "SKU_UNMAPPED", Destination: "stock", Table: "sku", Value: "LATTE-OAT", Held: 1}
	e := Explain(s, English)
	if e.Title != "No mapping for sku LATTE-OAT" || e.What != "Waiting for stock: 1 delivery with LATTE-OAT." || e.Turn != Catalogue {
		t.Errorf("%+v", e)
	}
	if e := Explain(Subject{Class: "NEW_CLASS", Destination: "stock", Code: "9"}, English); e.Known || e.Title != "NEW_CLASS at stock" || !strings.Contains(e.Why, "(code 9)") {
		t.Errorf("%+v", e)
	}
	// What is put in is not looked through for more.
	if e := Explain(Subject{Class: "SKU_UNMAPPED", Table: "sku", Value: "{held}"}, English); e.Title != "No mapping for sku {held}" {
		t.Errorf("%q", e.Title)
	}
}

func TestParseLanguage(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]Language{
		"": English, "id": Indonesian, "id-ID,en;q=0.8": Indonesian, "de, id;q=0.5": Indonesian, "en-GB, id": English, "in": Indonesian, "de": English,
	} {
		if got := ParseLanguage(given); got != want {
			t.Errorf("%q is %s, want %s", given, got, want)
		}
	}
}
