package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Figure is one row of the report.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // "ratio", "s", "ms", "MiB", "µs" or "deliveries/s"
	// Goal is the must, Aim what would be good; null where the figure is only reported.
	Goal *float64 `json:"goal"`
	Aim  *float64 `json:"aim"`
	// Better says which way the goal is: "higher" or "lower".
	Better string `json:"better"`
	Met    bool   `json:"met"`
	// Rounds are what the value is the median of.
	Rounds []float64 `json:"rounds"`
	// Detail gives the absolute figures behind the value, in words.
	Detail string `json:"detail"`
}

// goal is what a figure must and should be; zero is none.
type goal struct {
	must, aim float64
	lower     bool // lower is better
}

// figure makes a row of the rounds' values.
func figure(name, unit string, g goal, rounds []float64, detail string) Figure {
	f := Figure{Name: name, Value: median(rounds), Unit: unit, Better: "higher", Met: true, Rounds: rounds, Detail: detail}
	if g.lower {
		f.Better = "lower"
	}
	if g.must != 0 {
		f.Goal = &g.must
		f.Met = g.lower && f.Value <= g.must || !g.lower && f.Value >= g.must
	}
	if g.aim != 0 {
		f.Aim = &g.aim
	}
	return f
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Report is everything that a run found out.
type Report struct {
	Machine Machine  `json:"machine"`
	Figures []Figure `json:"figures"`
}

// Missed names the figures that miss their must.
func (r Report) Missed() []string {
	var names []string
	for _, f := range r.Figures {
		if !f.Met {
			names = append(names, f.Name)
		}
	}
	return names
}

// Print writes the report as a table for people.
func (r Report) Print(out io.Writer) error {
	fmt.Fprintln(out, r.Machine)
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tvalue\tspread\tmust\taim\t\tmeasured")
	for _, f := range r.Figures {
		spread, verdict := "", "met"
		if len(f.Rounds) > 1 {
			spread = fmt.Sprintf("%s–%s", number(slices.Min(f.Rounds)), number(slices.Max(f.Rounds)))
		}
		switch {
		case f.Goal == nil:
			verdict = "reported"
		case !f.Met:
			verdict = "MISSED"
		}
		fmt.Fprintf(table, "%s\t%s%s\t%s\t%s\t%s\t%s\t%s\n", f.Name, number(f.Value), suffix(f.Unit), spread, wanted(f, f.Goal), wanted(f, f.Aim), verdict, f.Detail)
	}
	return table.Flush()
}

func suffix(unit string) string {
	if unit == ratio {
		return "×"
	}
	return " " + unit
}

const ratio = "ratio"

func wanted(f Figure, value *float64) string {
	switch {
	case value == nil:
		return ""
	case f.Better == "lower":
		return "≤ " + number(*value)
	default:
		return "≥ " + number(*value)
	}
}

// number shows what can be told apart: more decimals for what is small.
func number(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return count(v)
	}
}

// count shows a whole number with its thousands apart.
func count(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	var parts []string
	for ; len(digits) > 3; digits = digits[:len(digits)-3] {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}
