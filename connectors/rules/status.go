package rules

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// maxStatus is the highest that three digits make.
const maxStatus = 999

// statuses is a set of HTTP statuses, a bit each.
type statuses [maxStatus/64 + 1]uint64

func (s *statuses) add(from, to int) {
	for status := from; status <= to; status++ {
		s[status/64] |= 1 << (status % 64)
	}
}

func (s *statuses) has(status int) bool {
	return status >= 0 && status <= maxStatus && s[status/64]&(1<<(status%64)) != 0
}

// within tells whether all of s are in o.
func (s *statuses) within(o *statuses) bool {
	for i := range s {
		if s[i]&^o[i] != 0 {
			return false
		}
	}
	return true
}

func (s *statuses) union(o *statuses) {
	for i := range s {
		s[i] |= o[i]
	}
}

func (s *statuses) meets(o *statuses) bool {
	for i := range s {
		if s[i]&o[i] != 0 {
			return true
		}
	}
	return false
}

// everyStatus is what a rule without a status takes, as far as it is a status.
var everyStatus = func() *statuses {
	var s statuses
	s.add(100, maxStatus)
	return &s
}()

const statusTakes = "a status (422), a class (4xx), a range (500-503), or a list of them, of 100 to 999"

var errStatus = errors.New("expected " + statusTakes)

func readStatuses(raw json.RawMessage) (*statuses, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	var all statuses
	for _, one := range list {
		text, ok := scalarText(one)
		if !ok || !all.addText(text) {
			return nil, errStatus
		}
	}
	if len(list) == 0 {
		return nil, errStatus
	}
	return &all, nil
}

func (s *statuses) addText(text string) bool {
	if class, ok := strings.CutSuffix(text, "xx"); ok {
		n, err := strconv.Atoi(class)
		if err != nil || n < 1 || n > 9 || len(class) != 1 {
			return false
		}
		s.add(n*100, n*100+99)
		return true
	}
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	from, err := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if err != nil || err2 != nil || from < 100 || to > maxStatus || from > to {
		return false
	}
	s.add(from, to)
	return true
}
