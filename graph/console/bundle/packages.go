package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// errNoNPM: there is no npm to take packages with.
var errNoNPM = errors.New("npm is not on the PATH; it is needed to rebuild the page, and for nothing else")

// packages returns a node_modules folder with what the lock file of the console
// names. It stays in the user's cache under the lock file's hash.
func packages(ctx context.Context, console string) (string, error) {
	hash := sha256.New()
	inputs := make(map[string][]byte)
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(filepath.Join(console, name))
		if err != nil {
			return "", err
		}
		hash.Write(content)
		inputs[name] = content
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "raffsync")
	home := filepath.Join(cache, "console-"+hex.EncodeToString(hash.Sum(nil))[:16])
	modules := filepath.Join(home, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", errNoNPM
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	// Another process may do the same: each works in a folder of its own, and the
	// first to finish gives it its name.
	making, err := os.MkdirTemp(cache, "console-making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(making)
	for name, content := range inputs {
		if err := os.WriteFile(filepath.Join(making, name), content, 0o600); err != nil {
			return "", err
		}
	}
	command := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	command.Dir = making
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, output)
	}
	if err := os.Rename(making, home); err != nil {
		if _, there := os.Stat(modules); there != nil {
			return "", err
		}
	}
	return modules, nil
}
