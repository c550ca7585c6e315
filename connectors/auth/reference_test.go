package auth

import (
	"slices"
	"strings"
	"testing"
)

// Every setting that a kind takes is described, and nothing else is.
func TestReference(t *testing.T) {
	t.Parallel()
	var described []string
	for _, s := range settings {
		described = append(described, s.name)
	}
	for kind, names := range takes {
		for _, name := range names {
			if !slices.Contains(described, name) {
				t.Errorf("%s of %s is not described", name, kind)
			}
		}
	}
	for line := range strings.Lines(Reference()) {
		if strings.Contains(line, "|  |") && !strings.Contains(line, "`kind`") {
			t.Errorf("nobody takes it: %s", line)
		}
	}
}
