package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// near is a path as one would type it from here.
func near(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if relative, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(relative) {
		return relative
	}
	return path
}

// defaultState is the state folder where no flag says which.
const defaultState = ".raffsync"

// typed is a command of this program as one would type it from here, with the flags
// that lead to the same installation.
func typed(program string, line *commandLine, command ...string) string {
	words := append([]string{near(program)}, command...)
	if state := near(line.State); state != defaultState {
		words = append(words, "--state", state)
	}
	if line.Database != "" && line.Database != os.Getenv("DATABASE_URL") {
		words = append(words, "--database", withoutPassword(line.Database))
	}
	return shellWords(words)
}

// startedBy is the command line that started this program. What make started, make
// starts again.
func startedBy(arguments []string, line *commandLine) string {
	if os.Getenv("MAKELEVEL") != "" {
		return "make run"
	}
	words := []string{near(arguments[0])}
	for _, word := range arguments[1:] {
		if line.Database != "" {
			word = strings.ReplaceAll(word, line.Database, withoutPassword(line.Database))
		}
		words = append(words, word)
	}
	return shellWords(words)
}

// withoutPassword is a database's URL that may be shown: with … for its password.
func withoutPassword(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		return "…" // key=value form, perhaps with a password
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return u.Scheme + "://…@" + u.Host + u.Path
	}
	return dsn
}

// shellWords joins words as a shell would take them apart.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if word == "" || strings.ContainsAny(word, " \t\n\"'`$&|;<>()*?[]{}!#~\\") {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
