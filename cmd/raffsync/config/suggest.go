package config

import (
	"fmt"
	"strings"
)

// meant is the candidate that a misspelt word most likely stands for, or "": at most
// a third of its letters may be wrong.
func meant(word string, candidates []string) string {
	best, nearest := "", max(len(word)/3, 1)+1
	for _, candidate := range candidates {
		if d := distance(strings.ToLower(word), candidate); d < nearest {
			best, nearest = candidate, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour (optimal string alignment). Words longer than 64 bytes are not compared.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var before, above, row [longest + 1]int
	for j := range len(b) + 1 {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := above[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(replaced, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}

// didYouMean is the middle of a sentence: `; did you mean "books"?`, or nothing.
func didYouMean(word string, candidates []string) string {
	if best := meant(word, candidates); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return ";"
}

// oneOf is what follows "expected".
func oneOf(names []string) string {
	if len(names) == 0 {
		return "no field at all"
	}
	return "one of " + choices(names)
}

// choices lists what there is, "none" where there is nothing.
func choices(names []string) string {
	const most = 12
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
