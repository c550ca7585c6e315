package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

const nameRule = "1 to 63 lower-case letters, digits, _ and -, a letter or digit first"

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// checkAddress wants a loopback address and a port. A name other than localhost might
// resolve to anything by the time of listening.
func checkAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return errors.New("expected host:port, as 127.0.0.1:8080")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("expected a port of 0 to 65535 behind the last colon")
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return errors.New("expected a loopback address, as 127.0.0.1:8080; beyond loopback only with TLS and authentication, and there is no TLS yet")
	}
	return nil
}

// checkDatabase wants a reference, or an address without a password. Its errors do not
// repeat the text.
func checkDatabase(text string) error {
	const expected = `expected a reference (env:DATABASE_URL), or an address without a password, as postgres://user@host/database`
	if strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:") {
		_, err := ParseSecretRef(text)
		return err
	}
	rest, ok := strings.CutPrefix(text, "postgres://")
	if !ok {
		if rest, ok = strings.CutPrefix(text, "postgresql://"); !ok {
			return errors.New(expected)
		}
	}
	// Not url.Parse: an address may name several hosts, each with a port.
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	if at := strings.LastIndex(authority, "@"); at >= 0 && strings.Contains(authority[:at], ":") {
		return errors.New("holds a password; " + expected)
	}
	_, query, _ := strings.Cut(rest, "?")
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return errors.New(expected)
	}
	for name := range parameters {
		if strings.Contains(strings.ToLower(name), "password") {
			return errors.New("holds a password; " + expected)
		}
	}
	return nil
}
