package explain

import (
	"cmp"
	"strconv"
	"strings"
)

// Language of an explanation.
type Language string

// Languages.
const (
	English    Language = "en"
	Indonesian Language = "id"
)

// ParseLanguage takes the first of a list of languages, as Accept-Language gives it,
// that there are words in; English where there is none.
func ParseLanguage(wanted string) Language {
	for one := range strings.SplitSeq(wanted, ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(one), ";")
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		switch primary {
		case "id", "in": // in: as it was called before 1989
			return Indonesian
		case "en":
			return English
		}
	}
	return English
}

// Role is whose turn it is, where no team is named: who can usually mend such a thing.
type Role string

// Roles.
const (
	Catalogue   Role = "CATALOGUE"   // keeps products, and what they are called elsewhere
	Outlet      Role = "OUTLET"      // runs the place where it was sold
	Finance     Role = "FINANCE"     // keeps taxes, accounts and periods
	Inventory   Role = "INVENTORY"   // counts stock
	Connection  Role = "CONNECTION"  // owns the account at the platform
	Owner       Role = "OWNER"       // pays for it
	Integration Role = "INTEGRATION" // runs Raffs Sync
	Developer   Role = "DEVELOPER"   // wrote the connector, recipe or mapping
)

// Subject is what an explanation is about. What is empty is not known, or is not part of it.
type Subject struct {
	Class               string
	Destination, Source string
	Rule, Code, Field   string
	// Table and Value are what a look-up missed.
	Table, Value string
	Held         int64
}

// Explanation is in words for a shop, each one or two sentences.
type Explanation struct {
	Title               string
	What, Why, NextStep string
	Turn                Role
	TurnName            string // in the language
	Known               bool   // false: the class has no words of its own
}

// words of a class. {destination} and its like are replaced.
type words struct {
	turn                       Role
	title, what, why, nextStep string
}

// Explain explains, in a language that there is.
func Explain(s Subject, in Language) Explanation {
	book, roles, nobody := english, englishRoles, "the platform"
	if in == Indonesian {
		book, roles, nobody = indonesian, indonesianRoles, "platform"
	}
	w, known := book[s.Class]
	if !known {
		w = book[unknownClass]
	}
	fill := strings.NewReplacer(
		"{class}", s.Class,
		"{destination}", cmp.Or(s.Destination, nobody),
		"{source}", cmp.Or(s.Source, nobody),
		"{table}", cmp.Or(s.Table, s.Field),
		"{value}", cmp.Or(s.Value, s.Code),
		"{held}", held(s.Held, in),
		"{about}", about(s, in),
	)
	return Explanation{
		Title: fill.Replace(w.title), What: fill.Replace(w.what), Why: fill.Replace(w.why), NextStep: fill.Replace(w.nextStep),
		Turn: w.turn, TurnName: roles[w.turn], Known: known,
	}
}

// unknownClass has the words for classes that have none: a newer version's, or a rule's.
const unknownClass = ""

// held is "1 delivery", "6 deliveries".
func held(n int64, in Language) string {
	number := strconv.FormatInt(n, 10)
	switch {
	case in == Indonesian:
		return number + " kiriman"
	case n == 1:
		return "1 delivery"
	}
	return number + " deliveries"
}

// about is what the platform said by way of code and field: " (code 610, field customer)".
func about(s Subject, in Language) string {
	var parts []string
	code, field := "code ", "field "
	if in == Indonesian {
		code, field = "kode ", "kolom "
	}
	if s.Code != "" {
		parts = append(parts, code+s.Code)
	}
	if s.Field != "" {
		parts = append(parts, field+s.Field)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
