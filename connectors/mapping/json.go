package mapping

import "encoding/binary"

// maxDepth is how deep JSON may nest: encoding/json's own limit.
const maxDepth = 10_000

// ValidJSON tells what [encoding/json.Valid] does, several times as fast: each event
// that is taken in is looked at.
func ValidJSON(data []byte) bool {
	end := skipValue(data, skipSpace(data, 0), 0)
	return end >= 0 && skipSpace(data, end) == len(data)
}

// The functions below take a position and return the one behind what they skipped,
// or -1 where that is malformed.

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

func skipValue(data []byte, i, depth int) int {
	if i >= len(data) {
		return -1
	}
	switch c := data[i]; c {
	case '{', '[':
		if depth == maxDepth {
			return -1
		}
		return skipElements(data, i, depth+1, nil)
	case '"':
		return skipString(data, i)
	case 't':
		return skipWord(data, i, "true")
	case 'f':
		return skipWord(data, i, "false")
	case 'n':
		return skipWord(data, i, "null")
	default:
		return skipNumber(data, i)
	}
}

// skipElements skips an object or a list, and calls visit, where given, with the
// bounds of each value and, in an object, of its name, quotes included.
func skipElements(data []byte, i, depth int, visit func(name, value [2]int)) int {
	object, closing := data[i] == '{', data[i]+2 // '}' and ']' stand two behind
	i = skipSpace(data, i+1)
	if i < len(data) && data[i] == closing {
		return i + 1
	}
	for {
		var name [2]int
		if object {
			if i >= len(data) || data[i] != '"' {
				return -1
			}
			end := skipString(data, i)
			if end < 0 {
				return -1
			}
			name = [2]int{i, end}
			i = skipSpace(data, end)
			if i >= len(data) || data[i] != ':' {
				return -1
			}
			i = skipSpace(data, i+1)
		}
		end := skipValue(data, i, depth)
		if end < 0 {
			return -1
		}
		if visit != nil {
			visit(name, [2]int{i, end})
		}
		i = skipSpace(data, end)
		if i >= len(data) {
			return -1
		}
		if data[i] == closing {
			return i + 1
		}
		if data[i] != ',' {
			return -1
		}
		i = skipSpace(data, i+1)
	}
}

func skipString(data []byte, i int) int {
	for i = skipPlain(data, i+1); i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c < 0x20:
			return -1
		case c == '\\':
			i++
			if i >= len(data) {
				return -1
			}
			switch data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(data) || !isHex(data[i]) {
						return -1
					}
				}
			default:
				return -1
			}
		}
	}
	return -1
}

// skipPlain goes over what a string may hold as it is, eight bytes at once. It may stop
// early.
func skipPlain(data []byte, i int) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; len(data)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(data[i:])
		quote, backslash := w^each*'"', w^each*'\\'
		if ((w-each*0x20)&^w|(quote-each)&^quote|(backslash-each)&^backslash)&high != 0 {
			return i
		}
	}
	return i
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func skipWord(data []byte, i int, word string) int {
	if len(data)-i < len(word) || string(data[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func skipNumber(data []byte, i int) int {
	if data[i] == '-' {
		i++
	}
	if i < len(data) && data[i] == '0' {
		i++
	} else if i = skipDigits(data, i); i < 0 {
		return -1
	}
	if i < len(data) && data[i] == '.' {
		if i = skipDigits(data, i+1); i < 0 {
			return -1
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		return skipDigits(data, i)
	}
	return i
}

// skipDigits skips at least one.
func skipDigits(data []byte, i int) int {
	start := i
	for i < len(data) && '0' <= data[i] && data[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}
