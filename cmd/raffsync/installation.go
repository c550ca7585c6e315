package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"raffsync/outbox/pglocal"
)

// Files of the state folder.
const (
	// addressFile tells other commands where the embedded Postgres of this folder is. It
	// is there once that has been up.
	addressFile = "database.url"
	// instanceFile names the embedded Postgres of this folder, so that the folder may be
	// moved.
	instanceFile = "postgres"
)

// instanceName is how the embedded Postgres of a state folder is named first.
func instanceName(state string) string {
	sum := sha256.Sum256([]byte(state))
	return "postgres-" + hex.EncodeToString(sum[:6])
}

// clusterOf finds the folder of the embedded Postgres that belongs to a state folder.
// exists tells whether there is one. Where there is none, and never was, the folder is
// the one to make it in. claim stores the name of what is found or to be made; nil
// stores none.
func clusterOf(state string, claim func(name string) error) (dir string, exists bool, err error) {
	name, err := readInstance(state)
	if err != nil {
		return "", false, err
	}
	named := name != ""
	if !named {
		name = instanceName(state)
	}
	if dir, err = pglocal.DefaultDir(name); err != nil {
		return "", false, err
	}
	exists = pglocal.Exists(dir)
	been := hasBeenUp(state, named)
	switch {
	case !exists && been:
		return "", false, fmt.Errorf("the data of the installation in %s is gone: %s is not there; bring it back, or begin anew after `raffsync reset`, which deletes what is left", state, dir)
	case exists && !named && !been: // of a folder that was moved away from here, or deleted
		exists, name = false, "postgres-"+strings.ToLower(rand.Text()[:12])
		if dir, err = pglocal.DefaultDir(name); err != nil {
			return "", false, err
		}
	}
	if claim != nil && !named {
		err = claim(name)
	}
	return dir, exists, err
}

func readInstance(state string) (string, error) {
	text, err := os.ReadFile(filepath.Join(state, instanceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// hasBeenUp tells whether the folder holds what an installation leaves there once its
// embedded Postgres has been up. Keys and the demo shop's numbers may also belong to a
// Postgres of the user's, where the folder names no other.
func hasBeenUp(state string, named bool) bool {
	patterns := []string{addressFile}
	if named {
		patterns = append(patterns, "*.key", "shop.json")
	}
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(filepath.Join(globEscaped(state), pattern)); len(found) > 0 {
			return true
		}
	}
	return false
}

// globEscaped is a path that a pattern takes for nothing else.
func globEscaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// noInstallation is what commands say that do not make one.
func noInstallation(state string) error {
	return fmt.Errorf("there is no installation in %s; run this from the folder that it was made in, or say where it is with --state or --database. `raffsync serve` makes one", state)
}
