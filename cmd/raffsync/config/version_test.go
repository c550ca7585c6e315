package config_test

import (
	"strings"
	"testing"

	"raffsync/cmd/raffsync/config"
)

// A version that is none is found at load, where it stands.
func TestParse_Version(t *testing.T) {
	_, err := config.Parse("raffsync.yaml", []byte(`tenant: kopi
sources: {shop: {}}
destinations: {books: {bucket: {path: x}}}
routes:
  all:
    to: books
    version: event.occured_at
`), options(false))
	if err == nil || !strings.Contains(err.Error(), "raffsync.yaml:7:") || !strings.Contains(err.Error(), "not a version in CEL: undefined field") {
		t.Errorf("%v", err)
	}
}
