package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"250ms": 250 * time.Millisecond, "10s": 10 * time.Second, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour,
		"1.5h": 90 * time.Minute, "0d": 0, "0s": 0, "-1s": -time.Second,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "1", "0", "-3", "1.5", "1e3", "1.5d", "-1d", "1d12h", "5 minutes", "10S", "99999999d", "4294967296d", "inf", "NaN"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
	for want, d := range map[string]time.Duration{
		"5m": 5 * time.Minute, "1h": time.Hour, "1h30m": 90 * time.Minute, "24h": 24 * time.Hour, "2d": 48 * time.Hour,
		"49h": 49 * time.Hour, "10s": 10 * time.Second, "1m10s": 70 * time.Second, "1h0m10s": time.Hour + 10*time.Second, "0s": 0, "1.5s": 1500 * time.Millisecond,
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%s: %s", want, got)
		}
	}
}

func TestDuration_ReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(1000*24*time.Hour)).Draw(t, "nanoseconds"))
		if coarse := rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "unit"); true {
			d = d.Truncate(coarse)
		}
		if got, err := parseDuration(formatDuration(d)); err != nil || got != d {
			t.Fatalf("%s became %s: %s, %v", d, formatDuration(d), got, err)
		}
	})
}

func TestMeant(t *testing.T) {
	fields := []string{"from", "to", "types", "when", "on_exception", "retry", "concurrency"}
	for word, want := range map[string]string{
		"concurency": "concurrency", "Retry": "retry", "form": "from", "too": "to", "type": "types", "on-exception": "on_exception",
		"colour": "", "": "", "x": "", "whn": "when", "rtery": "retry",
	} {
		if got := meant(word, fields); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[ab]{0,70}`)
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := distance(a, b)
		if d != distance(b, a) || d > 64 || len(a) <= 64 && len(b) <= 64 && (d == 0) != (a == b) || d > max(len(a), len(b)) && len(a) <= 64 && len(b) <= 64 {
			t.Fatalf("%q, %q: %d", a, b, d)
		}
	})
}

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"true":                              "true",
		"8080":                              "8080",
		"1234567":                           "…",
		"24h":                               "24h",
		"env:NAME":                          "env:NAME",
		"file:/run/secrets/x":               "file:/run/secrets/x",
		"env:a+b=":                          "…",
		"hunter2":                           "…",
		"prod":                              "…",
		"https://a.example.com":             "https://a.example.com",
		"https://a.example.com:8443":        "https://a.example.com:8443",
		"https://a.example.com/":            "https://a.example.com/…",
		"https://a.example.com/x?t=hunter2": "https://a.example.com/…",
		"https://a.example.com#hunter2":     "https://a.example.com/…",
		"https://u:hunter2@a.example.com":   "https://a.example.com/…",
		"https://hunter2@a.example.com/":    "https://a.example.com/…",
		"postgres://u:hunter2@db/x":         "postgres://db/…",
		"ftp://hunter2":                     "…",
		"https://hunter2%":                  "…",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for _, text := range []string{"127.0.0.1:8080", "127.9.9.9:0", "[::1]:8080", "localhost:65535", "[::ffff:127.0.0.1]:1"} {
		if err := checkAddress(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1", "0.0.0.0:8080", "[::]:8080",
		"10.0.0.1:8080", "example.com:8080", "LOCALHOST.example.com:1", "2130706433:80", "127.1:80", "::1:80", "[::1%lo]:80x", "localhost.:80",
	} {
		if checkAddress(text) == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

func TestCheckDatabase(t *testing.T) {
	for _, text := range []string{
		"env:DATABASE_URL", "file:/run/secrets/url", "postgres://localhost/raffsync", "postgresql://raffsync@localhost:5432/raffsync",
		"postgres:///raffsync?host=/run/postgresql", "postgres://raffsync@a:5432,b:5433/raffsync?target_session_attrs=read-write", "postgres://u@[::1]:5432/x",
	} {
		if err := checkDatabase(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "env:", "env:a b", "hunter2", "host=localhost password=hunter2", "mysql://localhost/x", "postgres://u:hunter2@localhost/x",
		"postgres://u:@localhost/x", "postgres://u:hunter2@2@localhost", "postgresql://localhost/x?password=hunter2",
		"postgres://localhost?user=u&PASSWORD=hunter2", "postgres://localhost/x?sslpassword=hunter2", "postgres://localhost/x?a=%zz",
	} {
		if checkDatabase(text) == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
