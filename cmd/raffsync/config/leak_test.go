package config_test

import (
	"strings"
	"testing"

	"raffsync/cmd/raffsync/config"
)

// TestParse_ShowsNoSecret damages a file that holds literal secrets, in one place
// after the other, and wants none of them repeated whatever is made of it.
func TestParse_ShowsNoSecret(t *testing.T) {
	const canary = "hunter2hunter2"
	const file = `tenant: kopi
database: {url: "postgres://raffsync:hunter2hunter2@db/raffsync"}
sources:
  shop:
    webhook: {signature: {scheme: shopify, secrets: [hunter2hunter2, "env:BOOKS_SECRET"]}}
destinations:
  books:
    webhook: {url: "https://books.example.com/hunter2hunter2hunter2/?token=hunter2hunter2", secret: "hunter2hunter2"}
    timeout: 5s
  stock: # was hunter2hunter2
    webhook:
      secret: hunter2hunter2
      headers:
        Authorization: 'Bearer hunter2hunter2'
      previous_secret: |
        hunter2hunter2
      url: https://stock.example.com
    password: hunter2hunter2
routes:
  all: {to: books}
`
	const recipe = `tenant: kopi
destinations:
  api:
    recipe:
      url: https://api.example.com
      settings: {token: {doc: The token, secret: true}}
      headers: {X-Key: "${settings.token}", Authorization: Bearer hunter2hunter2}
      calls: {a: {body: none}}
    settings: {token: hunter2hunter2}
    auth: {kind: api_key, key: hunter2hunter2}
`
	secrets(t)
	damage(t, file, canary)
	damage(t, recipe, canary)
}

func damage(t *testing.T, file, canary string) {
	check := func(content string) {
		if got := outcome(config.Parse("raffsync.yaml", []byte(content), options(true))); strings.Contains(got, canary) {
			t.Errorf("a secret is shown of\n%s\nin\n%s", content, got)
		}
	}
	check(file)
	signs := []string{"\"", "'", ":", ": ", "{", "}", "[", ",", "#", " #", "\n", "\n  ", "\t", "&a ", "*", "!", "|\n", "x", "\\"}
	for i := range len(file) + 1 {
		if i < len(file) {
			check(file[:i] + file[i+1:])
			check(file[:i])
		}
		// A third of the signs at each place, others at the next: all of them would
		// take four seconds, and have found nothing more.
		for j := i % 3; j < len(signs); j += 3 {
			check(file[:i] + signs[j] + file[i:])
		}
	}
}
