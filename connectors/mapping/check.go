package mapping

import "context"

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
	// LeftOut are the places of the output, as JSON pointers and at most 100, whose
	// expression reads something that the sample does not have. One that every sample
	// leaves out may be misspelt.
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
			r.noting = true
			_, finding.Err = t.render(r)
			// What an error stopped has missed look-ups all the same.
			finding.Missing, finding.LeftOut = r.missing, r.leftOut
		}
		findings = append(findings, finding)
	}
	return findings
}
