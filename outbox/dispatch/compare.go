package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"raffsync/connectors"
	"raffsync/outbox"
)

// compare compares the step's request with what was sent for its effect before. Of that
// only the hash is stored; what it was of is known where preparing the earlier event once
// more gives that hash.
func (p *previewer) compare(ctx context.Context, f *flight, result *prepared, step *outbox.PreviewStep) error {
	was := step.Existing
	if was == nil || result.request == nil {
		return nil
	}
	step.Change = &outbox.PreviewChange{}
	switch {
	case was.Content == nil:
		step.Change.Note = "what was sent before is not known, nor its hash"
		return nil
	case result.content == nil:
		step.Change.Note = "this kind of destination does not tell what a request would bring to the platform"
		return nil
	case slices.Equal(was.Content, result.content):
		step.Change.Same = true
		return nil
	}
	before, err := p.earlier(ctx, f, was)
	switch {
	case errors.Is(err, outbox.ErrNotFound):
		step.Change.Note = "it is something else; what was sent before is not stored, only its hash, and its event is gone"
	case err != nil:
		return err
	case before == nil:
		step.Change.Note = "it is something else; what was sent before is not stored, only its hash, and preparing its event today gives neither"
	default:
		var ok bool
		if step.Change.Diff, ok = Unified(before, result.request.(connectors.Content).Content()); !ok {
			step.Change.Note = "it is something else, and too large to be compared by line"
		}
	}
	return nil
}

// earlier is the content that was sent for an effect before; nil where what its event
// gives today is not that.
func (p *previewer) earlier(ctx context.Context, f *flight, was *outbox.Effect) ([]byte, error) {
	id, err := p.config.Store.EventNamed(ctx, p.Event.Tenant, was.Source, was.Event)
	if err != nil {
		return nil, err
	}
	read, err := p.config.Store.ReadPreviewed(ctx, p.Event.Tenant, outbox.DeliveryID{Event: id, Destination: p.destination.ID})
	if err != nil {
		return nil, err
	}
	delivery := read.Delivery
	delivery.Route, delivery.Step = f.delivery.Route, f.delivery.Step
	g := &flight{destination: p.destination, delivery: &delivery, policy: f.policy, step: &stepped{Step: f.step.Step, receipts: p.receipts, effect: f.step.effect}}
	g.attempt.Effect = &AttemptEffect{Name: f.step.effect}
	g.identify(read.Event)
	result := p.prepare(loaded{g, read.Event})
	if result.request == nil || !slices.Equal(result.content, was.Content) {
		return nil, nil
	}
	return result.request.(connectors.Content).Content(), nil
}

// Bounds of a comparison: of lines that differ, and around each difference.
const (
	comparedLines = 1500
	contextLines  = 3
)

// Unified compares two requests, or what they would bring, by line, JSON indented; ok is
// false where that is too much.
func Unified(before, now []byte) (diff string, ok bool) {
	a, b := lines(before), lines(now)
	if len(a) > comparedLines || len(b) > comparedLines {
		return "", false
	}
	// common[i][j] is how many lines a[i:] and b[j:] have in common, in order.
	common := make([][]int16, len(a)+1)
	for i := range common {
		common[i] = make([]int16, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var all []string // each with its sign
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, " "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			all = append(all, "-"+a[i])
			i++
		default:
			all = append(all, "+"+b[j])
			j++
		}
	}
	return around(all), true
}

// around leaves out what is far from every difference.
func around(all []string) string {
	var out strings.Builder
	out.WriteString("--- before\n+++ now\n")
	skipped := false
	for i, line := range all {
		near := slices.ContainsFunc(all[max(i-contextLines, 0):min(i+contextLines+1, len(all))], func(l string) bool { return l[0] != ' ' })
		if !near {
			skipped = true
			continue
		}
		if skipped {
			out.WriteString("@@\n")
			skipped = false
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}

func lines(content []byte) []string {
	var all []string
	for line := range bytes.SplitSeq(content, []byte{'\n'}) {
		var indented bytes.Buffer
		if json.Indent(&indented, line, "", "  ") == nil {
			line = indented.Bytes()
		}
		all = append(all, strings.Split(string(line), "\n")...)
	}
	return all
}
