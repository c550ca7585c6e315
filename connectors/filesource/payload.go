package filesource

import "unicode/utf8"

const hexDigits = "0123456789abcdef"

// appendString appends valid UTF-8 as a JSON string. Nothing is escaped that RFC 8259
// does not ask for, so that the text can be searched for as it stands.
func appendString(b []byte, text []byte) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		start = i + 1
	}
	b = append(b, text[start:]...)
	return append(b, '"')
}

// appendObject appends the columns of a line as a JSON object of texts. The keys are
// encoded already. It returns false at a value that is not UTF-8, and its column.
func appendObject(b []byte, keys [][]byte, columns []int, fields [][]byte) ([]byte, int, bool) {
	b = append(b, '{')
	for i, column := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		if !utf8.Valid(fields[column]) {
			return b, column, false
		}
		b = append(append(b, keys[column]...), ':')
		b = appendString(b, fields[column])
	}
	return append(b, '}'), 0, true
}
