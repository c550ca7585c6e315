package mapping

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxLeftOut is how many fields a finding names.
const maxLeftOut = 100

// Sample is an event that stands beside a configuration, for its templates to be tried
// with before the first real one comes.
type Sample struct {
	Name  string
	Scope *Scope
}

// Finding is what came of a sample.
type Finding struct {
	Sample string
	// Missing are the look-ups that found nothing.
	Missing []Miss
	// LeftOut are the places of the output, as JSON pointers with * for a place in a list
	// and at most 100, whose expression reads something that the sample does not have, of
	// all of a list's elements none. One that every sample leaves out may be misspelt.
	LeftOut []string
	// Err is the error of [Template.Render].
	Err error
}

// Check renders the template with each sample, and tells what is missing or fails: one
// finding for each, in their order.
func (t *Template) Check(ctx context.Context, samples ...Sample) []Finding {
	findings := make([]Finding, 0, len(samples))
	for _, sample := range samples {
		finding := Finding{Sample: sample.Name}
		r, err := newRun(ctx, sample.Scope, t.body)
		if err != nil {
			finding.Err = &TemplateError{Err: err}
		} else {
			r.noting = make(map[string]bool)
			var result Result
			result, finding.Err = t.render(r)
			// What an error stopped has missed look-ups all the same.
			finding.Missing = r.missing
			for _, place := range slices.Sorted(maps.Keys(r.noting)) {
				if !stands(result.Value, strings.Split(place, "/")[1:]) {
					finding.LeftOut = append(finding.LeftOut, place)
				}
			}
		}
		findings = append(findings, finding)
	}
	return findings
}

// stands tells whether there is a value at a place, * being any of a list.
func stands(value any, place []string) bool {
	if len(place) == 0 {
		return true
	}
	switch value := value.(type) {
	case map[string]any:
		field, ok := value[strings.NewReplacer("~1", "/", "~0", "~").Replace(place[0])]
		return ok && stands(field, place[1:])
	case []any:
		return place[0] == anywhere && slices.ContainsFunc(value, func(one any) bool { return stands(one, place[1:]) })
	}
	return false
}

// anywhere is any place in a list.
const anywhere = "*"

// place is where in the output the run is, whichever place in a list that is.
func (r *run) place() string {
	return r.pointing(func(int) string { return anywhere })
}

// pointer is where in the output the run is, as a JSON pointer.
func (r *run) pointer() string { return r.pointing(strconv.Itoa) }

func (r *run) pointing(index func(int) string) string {
	var out string
	for _, s := range r.path {
		if s.index >= 0 {
			out += "/" + index(s.index)
		} else {
			out = pointer(out, s.name)
		}
	}
	return out
}
