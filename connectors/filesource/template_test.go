package filesource

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTemplate_Expand(t *testing.T) {
	values := map[string]string{"A": "1", "B": "x|y", "Empty": ""}
	for text, want := range map[string]string{
		"plain": "plain", "{A}": "1", "a/{A}/{B}": "a/1/x|y", "{Empty}": "", "{Empty}|{A}": "1", "k/{Empty}|k/{A}": "k/1",
		"{A}{Empty}|both/{A}|never": "both/1", "{Empty}|unknown": "unknown", "{No Such}|z": "z",
	} {
		parsed, err := parseTemplate(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := parsed.expand(func(c string) (string, error) { return values[c], nil }); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestMatches_PropertyAsARegularExpression(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?.é")), 0, 8, -1).Draw(t, "pattern")
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab.é/")), 0, 10, -1).Draw(t, "text")
		expression := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
		if want := regexp.MustCompile("^(?s:" + expression + ")$").MatchString(text); matches(pattern, text) != want {
			t.Errorf("matches(%q, %q) is %t", pattern, text, !want)
		}
	})
}

func TestAppendString_PropertyOfDecoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		encoded := appendString([]byte("before"), []byte(text))
		var got string
		if err := json.Unmarshal(encoded[len("before"):], &got); err != nil || got != text {
			t.Errorf("%q became %s: %q, %v", text, encoded, got, err)
		}
	})
}
