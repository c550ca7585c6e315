package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raffsync/cmd/raffsync/config"
)

func TestSecretRef_Resolve(t *testing.T) {
	secrets(t)
	write(t, "plain", "s3cret", 0o600)
	write(t, "lines", "s3cret\n\n", 0o600)
	write(t, "windows", "s3cret\r\n", 0o600)
	write(t, "return", "s3cret\r", 0o600)
	write(t, "largest", strings.Repeat("x", 64<<10), 0o600)
	t.Setenv("LINES", "s3cret\n")
	absolute, err := filepath.Abs("plain")
	if err != nil {
		t.Fatal(err)
	}
	for reference, want := range map[string]string{
		"env:BOOKS_SECRET":  signingSecret,
		"env:LINES":         "s3cret\n",
		"file:plain":        "s3cret",
		"file:" + absolute:  "s3cret",
		"file:lines":        "s3cret\n",
		"file:windows":      "s3cret",
		"file:return":       "s3cret\r",
		"file:largest":      strings.Repeat("x", 64<<10),
		"file:stock.secret": signingSecret,
	} {
		got, err := config.ResolveSecret(reference)
		if err != nil || got != want {
			t.Errorf("%s: %d bytes, %v; want %d", reference, len(got), err, len(want))
		}
	}
}

// TestSecretRef_Errors holds that an error names the reference, where it is one, and
// nothing else.
func TestSecretRef_Errors(t *testing.T) {
	secrets(t)
	write(t, "empty", "\n", 0o600)
	write(t, "large", strings.Repeat("x", 64<<10+1), 0o600)
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	for reference, want := range map[string]string{
		"":                    "expected a reference, env:NAME or file:PATH, not the secret itself",
		"hunter2":             "expected a reference, env:NAME or file:PATH, not the secret itself",
		"vault:hunter2":       "expected a reference, env:NAME or file:PATH, not the secret itself",
		"ENV:NAME":            "expected a reference, env:NAME or file:PATH, not the secret itself",
		"env:":                "expected the name of an environment variable after env:, of letters, digits and _",
		"env:hunter2=":        "expected the name of an environment variable after env:, of letters, digits and _",
		"env:2NAME":           "expected the name of an environment variable after env:, of letters, digits and _",
		"file:":               "expected the path of a file, as file:PATH",
		"file:hunter2\nx":     "expected the path of a file, as file:PATH",
		"env:NOT_SET":         `"env:NOT_SET": the environment variable NOT_SET is not set`,
		"env:EMPTY":           `"env:EMPTY": the environment variable EMPTY is empty`,
		"file:none":           `"file:none": there is no such file`,
		"file:plain/deeper":   `"file:plain/deeper": there is no such file`,
		"file:empty":          `"file:empty": is empty`,
		"file:large":          `"file:large": is larger than 64 KiB`,
		"file:folder":         `"file:folder": is not a file`,
		"file:/dev/null":      `"file:/dev/null": is not a file`,
		"file:empty/deeper":   `"file:empty/deeper": not a directory`,
		"file:no\x00t a path": "expected the path of a file, as file:PATH",
	} {
		secret, err := config.ResolveSecret(reference)
		if secret != "" || err == nil || err.Error() != want {
			t.Errorf("%q: %v\nwant %s", reference, err, want)
		}
	}
}

func TestSecretRef_UncheckedReference(t *testing.T) {
	if got, err := config.SecretRef("hunter2").Resolve(); err == nil || got != "" || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDatabase_Resolve(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://raffsync:hunter2@db/raffsync")
	for url, want := range map[string]string{
		"":                         "",
		"postgres://raffsync@db/x": "postgres://raffsync@db/x",
		"env:DATABASE_URL":         "postgres://raffsync:hunter2@db/raffsync",
	} {
		if got, err := (config.Database{URL: url}).Resolve(); err != nil || got != want {
			t.Errorf("%q: %q, %v", url, got, err)
		}
	}
	_, err := config.Database{URL: "env:NOT_SET"}.Resolve()
	if want := `database.url: "env:NOT_SET": the environment variable NOT_SET is not set`; err == nil || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
}

// TestParse_Secrets holds that references are followed only where they are to be used.
func TestParse_Secrets(t *testing.T) {
	secrets(t)
	const file = `tenant: kopi
database: {url: "env:NOT_SET"}
destinations:
  books:
    webhook: {url: "https://books.example.com", secret: "env:NOT_SET_EITHER"}
    timeout: 5s
`
	f, err := config.Parse("raffsync.yaml", []byte(file), options(false))
	if err != nil || f.Database.URL != "env:NOT_SET" || len(f.Configuration.Destinations) != 1 {
		t.Errorf("without secrets: %+v, %v", f, err)
	}
	_, err = config.Parse("raffsync.yaml", []byte(file), options(true))
	problems, ok := err.(config.Problems)
	if !ok || len(problems) != 2 || problems[0].Line != 2 || problems[1].Line != 5 {
		t.Errorf("with secrets: %v", err)
	}
	// What can be told without the secret still is.
	_, err = config.Parse("raffsync.yaml", []byte(strings.Replace(file, "https://books.example.com", "gopher://books", 1)), options(false))
	if problems, ok := err.(config.Problems); !ok || len(problems) != 1 || problems[0].Line != 5 {
		t.Errorf("with a wrong url: %v", err)
	}
	// Another account could read the database's address.
	write(t, "database", "postgres://raffsync:hunter2@db/raffsync", 0o604)
	f, err = config.Parse("raffsync.yaml", []byte("tenant: kopi\ndatabase: {url: \"file:database\"}\n"), options(true))
	if err != nil || len(f.Warnings) != 1 || f.Warnings[0].Line != 2 {
		t.Errorf("%+v, %v", f, err)
	}
	write(t, "database", "postgres://raffsync:hunter2@db/raffsync", 0o640)
	f, err = config.Parse("raffsync.yaml", []byte("tenant: kopi\ndatabase: {url: \"file:database\"}\n"), options(true))
	if err != nil || len(f.Warnings) != 0 {
		t.Errorf("%+v, %v", f, err)
	}
}
