package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"raffsync/outbox"
	"raffsync/outbox/escalate"
)

const (
	maxSeverities = 100
	maxRates      = 200
)

func severity(into *[]outbox.SeverityConfig) field {
	const takes = "a list of rules"
	return field{
		name: "severity", takes: takes, fallback: "by class", listed: true, inside: severityFields(new(outbox.SeverityConfig)),
		doc: "How much exceptions matter. The first rule that holds decides, looked at every few seconds; where none does, the class: CRITICAL where a destination is held as a whole, HIGH where nothing more is tried, or a source says nothing or nonsense, LOW for warnings and for what is there already, else MEDIUM.",
		decode: func(d *decoder, v value) {
			sequence, ok := v.node.(*ast.SequenceNode)
			if !ok || len(sequence.Values) == 0 || len(sequence.Values) > maxSeverities {
				d.fail(v.at(), v.path, "found %s; expected a list of 1 to %d rules, or leave the field out", v.kind(), maxSeverities)
				return
			}
			for i, n := range sequence.Values {
				e := value{path: element(v.path, i), node: n}
				d.places[e.path] = e.at()
				var rule outbox.SeverityConfig
				d.object(e, severityFields(&rule))
				if _, err := escalate.CompileCondition(rule.When); rule.When != "" && err != nil {
					d.severityProblem(join(e.path, "when"), rule.When, err)
				}
				*into = append(*into, rule)
			}
		},
	}
}

func (d *decoder) severityProblem(path, text string, err error) {
	at := d.places[path]
	message := err.Error()
	var wrong *escalate.SyntaxError
	if errors.As(err, &wrong) {
		at, message = d.within(at, text, wrong.Line, wrong.Column), wrong.Message
	}
	d.fail(at, path, "not a condition in CEL: %s", firstLine(message))
}

func severityFields(c *outbox.SeverityConfig) []field {
	return []field{
		text("when", &c.When, 4096, `a condition, as class == "LATE"`, "every exception",
			"A condition in CEL over `class`, `destination`, `source`, `held`, `exposure` (money at stake by currency, as `exposure.IDR`), `age` (`duration(\"1h\")`) and `severity`, which is that of the class."),
		checked("is", &c.Is, 10, "LOW, MEDIUM, HIGH or CRITICAL", "How much it matters.", func(text string) string {
			if !slices.Contains([]string{"LOW", "MEDIUM", "HIGH", "CRITICAL"}, text) {
				return "LOW, MEDIUM, HIGH or CRITICAL"
			}
			return ""
		}).demanded(),
	}
}

var (
	currencyName = regexp.MustCompile(`^[A-Z]{3}$`)
	rateText     = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,8})?$`)
)

// rates keep numbers as they were written: they are compared in the database.
func rates(into *map[string]json.Number) field {
	const takes = "a mapping of currencies to numbers, as {USD: 16300, IDR: 1}"
	return field{
		name: "rates", takes: takes, fallback: "1 for each",
		doc: "What one unit of a currency counts for when exceptions are ranked by what is at stake. Nothing is converted by it.",
		decode: func(d *decoder, v value) {
			all, _ := d.mapping(v, takes)
			if len(all) > maxRates {
				d.fail(v.at(), v.path, "found %d currencies; expected at most %d", len(all), maxRates)
				return
			}
			for _, e := range all {
				written := e.node.GetToken().Value
				number, _ := strconv.ParseFloat(written, 64)
				switch {
				case !currencyName.MatchString(e.name):
					d.fail(e.key, v.path, "found %q; expected a currency of three capital letters, as USD", short(e.name))
				case !rateText.MatchString(written) || number == 0:
					d.fail(e.at(), e.path, "found %s; expected a number above 0, as 16300 or 0.92", e.found())
				default:
					if *into == nil {
						*into = make(map[string]json.Number)
					}
					(*into)[e.name] = json.Number(written)
				}
			}
		},
	}
}

// compareRanking tells what differs of severity and rates.
func compareRanking(before, after outbox.Configuration) []Change {
	named := func(rules []outbox.SeverityConfig) []numberedRule {
		numbered := make([]numberedRule, len(rules))
		for i, r := range rules {
			numbered[i] = numberedRule{strconv.Itoa(i + 1), r}
		}
		return numbered
	}
	type rate struct{ currency, worth string }
	listed := func(of map[string]json.Number) (all []rate) {
		for _, currency := range slices.Sorted(maps.Keys(of)) {
			all = append(all, rate{currency, of[currency].String()})
		}
		return all
	}
	all := compare("severity", named(before.Severity), named(after.Severity),
		func(r numberedRule) string { return r.number },
		func(r numberedRule) []property {
			return []property{plain("when", orWord(r.When, "every exception")), plain("is", r.Is)}
		})
	return append(all, compare("rate", listed(before.Rates), listed(after.Rates),
		func(r rate) string { return r.currency },
		func(r rate) []property { return []property{plain("counts for", fmt.Sprint(r.worth))} })...)
}

type numberedRule struct {
	number string
	outbox.SeverityConfig
}
