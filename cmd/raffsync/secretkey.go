package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"raffsync/cmd/raffsync/config"
	"raffsync/outbox"
)

// secretKeyFile holds the key that seals what platforms give, in the state folder, where
// nobody says another.
const secretKeyFile = "secret.key"

// secretKeys are what seals connections: those of RAFFSYNC_SECRET_KEY, or, with the
// embedded Postgres, one that is made in the state folder. For a Postgres of the user's
// none is made: another machine would make another. Nil where there are none.
func secretKeys(line *commandLine, embedded bool) (*outbox.Keys, error) {
	text, from := line.SecretKey, "RAFFSYNC_SECRET_KEY"
	if _, err := config.ParseSecretRef(text); err == nil && text != "" {
		resolved, err := config.ResolveSecret(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		text = resolved
	}
	if text == "" {
		if !embedded {
			return nil, nil
		}
		from = filepath.Join(line.State, secretKeyFile)
		kept, err := keptKey(from)
		if err != nil {
			return nil, err
		}
		text = kept
	}
	keys, err := outbox.ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return keys, nil
}

// keptKey reads the file, and makes it where there is none: once, however many processes
// do so.
func keptKey(path string) (string, error) {
	text, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return string(text), err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+secretKeyFile+"-*") // mode 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(outbox.NewKey() + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", err
	}
	// Unlike a rename, a link replaces nothing.
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	text, err = os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
