package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// maxSecretBytes is the most that a secret's file may hold.
const maxSecretBytes = 64 << 10

// SecretRef says where a secret is: "env:NAME" in the environment, "file:PATH" in a
// file, a relative path from the working directory. It holds no secret, and may be
// shown.
type SecretRef string

var environmentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// ParseSecretRef checks the form. Its error does not repeat the text, which may be
// the secret itself.
func ParseSecretRef(text string) (SecretRef, error) {
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		if environmentName.MatchString(name) {
			return SecretRef(text), nil
		}
		return "", errors.New("expected the name of an environment variable after env:, of letters, digits and _")
	}
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		if path != "" && len(path) <= 1024 && !strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return SecretRef(text), nil
		}
		return "", errors.New("expected the path of a file, as file:PATH")
	}
	return "", errors.New("expected a reference, env:NAME or file:PATH, not the secret itself")
}

// ResolveSecret gives the secret that a reference stands for. Its errors name the
// reference at most.
func ResolveSecret(reference string) (string, error) {
	ref, err := ParseSecretRef(reference)
	if err != nil {
		return "", err
	}
	return ref.Resolve()
}

// Resolve gives the secret. One line feed at the end of a file is not part of it. The
// errors name the reference and never the secret.
func (r SecretRef) Resolve() (string, error) {
	if name, ok := strings.CutPrefix(string(r), "env:"); ok {
		secret, set := os.LookupEnv(name)
		switch {
		case !set:
			return "", fmt.Errorf("%q: the environment variable %s is not set", r, name)
		case secret == "":
			return "", fmt.Errorf("%q: the environment variable %s is empty", r, name)
		}
		return secret, nil
	}
	return r.read()
}

func (r SecretRef) path() (string, bool) { return strings.CutPrefix(string(r), "file:") }

func (r SecretRef) read() (string, error) {
	path, ok := r.path()
	if !ok {
		return "", errors.New("expected a reference, env:NAME or file:PATH")
	}
	// Asked before it is opened: opening a named pipe waits for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%q: %w", r, reason(err))
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%q: is not a file", r)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%q: %w", r, reason(err))
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%q: %w", r, reason(err))
	case len(content) > maxSecretBytes:
		return "", fmt.Errorf("%q: is larger than %d KiB", r, maxSecretBytes>>10)
	}
	secret, terminated := strings.CutSuffix(string(content), "\n")
	if terminated {
		secret = strings.TrimSuffix(secret, "\r")
	}
	if secret == "" {
		return "", fmt.Errorf("%q: is empty", r)
	}
	return secret, nil
}

// openToOthers says whether every account of the machine can read or change the file.
func (r SecretRef) openToOthers() bool {
	path, ok := r.path()
	if !ok {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o006 != 0
}

// reason is a file's error without the path, which stands before it already.
func reason(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("there is no such file")
	case errors.Is(err, os.ErrPermission):
		return errors.New("this account may not read the file")
	}
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}
