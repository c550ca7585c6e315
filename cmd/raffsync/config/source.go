package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// position is a place in the file, counted from 1, columns in characters.
type position struct{ line, column int }

func positionOf(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// source is the text of a file as it is quoted in problems.
type source struct {
	name  string
	lines [][]rune
	// hidden marks, for each line, the characters that are not to be quoted.
	hidden [][]bool
}

func newSource(name, text string) *source {
	s := &source{name: name}
	for _, line := range strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n") {
		s.lines = append(s.lines, []rune(line))
		s.hidden = append(s.hidden, make([]bool, len(s.lines[len(s.lines)-1])))
	}
	return s
}

// hide keeps everything from one position up to another out of excerpts, but for the
// indentation of the lines between.
func (s *source) hide(from, to position) {
	for line := max(from.line, 1); line <= min(to.line, len(s.lines)); line++ {
		marks := s.hidden[line-1]
		first, last := 0, len(marks)
		if line == from.line {
			first = min(max(from.column-1, 0), len(marks))
		}
		if line == to.line {
			last = min(max(to.column-1, 0), len(marks))
		}
		for line > from.line && first < last && s.lines[line-1][first] == ' ' {
			first++
		}
		for i := first; i < last; i++ {
			marks[i] = true
		}
	}
}

// end is the position behind the last character.
func (s *source) end() position {
	return position{len(s.lines), len(s.lines[len(s.lines)-1]) + 1}
}

var (
	word     = regexp.MustCompile(`[^\s{}\[\],:"'#&*!<]+`)
	blockKey = regexp.MustCompile(`^[ -]*[a-z0-9][a-z0-9_-]{0,62}:(\s|$)`)
)

// hideWords leaves nothing to be quoted but punctuation, names at the beginning of a
// line, and the given words. It is for a file that is no YAML: there is no telling in
// it what is a secret.
func (s *source) hideWords(known map[string]bool) {
	for i, line := range s.lines {
		text := string(line)
		name := blockKey.FindString(text)
		bytes, column := 0, 1
		advance := func(to int) int {
			column += utf8.RuneCountInString(text[bytes:to])
			bytes = to
			return column
		}
		for _, at := range word.FindAllStringIndex(text, -1) {
			if !known[text[at[0]:at[1]]] && at[1] > len(name) {
				s.hide(position{i + 1, advance(at[0])}, position{i + 1, advance(at[1])})
			}
		}
	}
}

func (s *source) problem(at position, message string) Problem {
	p := Problem{File: s.name, Message: message}
	if at.line > 0 {
		at.line = min(at.line, len(s.lines))
		p.Line, p.Column = at.line, min(at.column, len(s.lines[at.line-1])+1)
	}
	return p
}

// maxWidth is how many characters of a line are quoted.
const maxWidth = 100

// excerpt quotes the line of a problem, with "…" for what is hidden, and marks the
// column below it. It is called last, when everything to be hidden is known.
func (s *source) excerpt(p Problem) string {
	if p.Line == 0 {
		return ""
	}
	var quoted []rune
	mark := -1
	for i, r := range s.lines[p.Line-1] {
		hidden := s.hidden[p.Line-1][i]
		repeats := hidden && i > 0 && s.hidden[p.Line-1][i-1]
		if i == p.Column-1 {
			mark = len(quoted)
			if repeats {
				mark--
			}
		}
		switch {
		case repeats:
		case hidden:
			quoted = append(quoted, '…')
		case r == '\t':
			quoted = append(quoted, '→')
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfeff:
			quoted = append(quoted, '·')
		default:
			quoted = append(quoted, r)
		}
	}
	if mark < 0 {
		mark = len(quoted)
	}
	if cut := min(mark-maxWidth/2, len(quoted)-maxWidth); cut > 0 {
		quoted, mark = append([]rune{'…'}, quoted[cut+1:]...), mark-cut
	}
	if len(quoted) > maxWidth {
		quoted = append(quoted[:maxWidth-1], '…')
	}
	number := fmt.Sprintf("%4d", p.Line)
	return fmt.Sprintf("%s | %s\n%s | %s^", number, strings.TrimRight(string(quoted), " "),
		strings.Repeat(" ", len(number)), strings.Repeat(" ", mark))
}
