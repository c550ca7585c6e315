package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file, or worth a warning.
type Problem struct {
	File string `json:"file"`
	// Line and Column count from 1, columns in characters. Both are 0 where the file
	// as a whole is meant.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Message says what was found and what was expected.
	Message string `json:"message"`
	// Excerpt is the line and a mark below it, in two lines, with everything that
	// might be secret left out. It is empty where there is no line.
	Excerpt string `json:"excerpt,omitempty"`
}

// String is "file:line:column: message", with the excerpt below it.
func (p Problem) String() string {
	at := p.File
	if p.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	if p.Excerpt == "" {
		return at + ": " + p.Message
	}
	return at + ": " + p.Message + "\n" + p.Excerpt
}

// maxShown is how many problems an error spells out.
const maxShown = 20

// Problems is the error of a file that can't be used: at least one problem, in the
// order of the file.
type Problems []Problem

func (p Problems) Error() string {
	var b strings.Builder
	for i, problem := range p {
		if i == maxShown {
			fmt.Fprintf(&b, "\nand %d more", len(p)-maxShown)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(problem.String())
	}
	return b.String()
}

// inOrder sorts by place, and drops what is said twice.
func inOrder(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(problems, func(a, b Problem) bool {
		return a.Line == b.Line && a.Column == b.Column && a.Message == b.Message
	})
}
