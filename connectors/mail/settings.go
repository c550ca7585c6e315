package mail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/netip"
	"strconv"
	"strings"

	"raffsync/connectors"
)

// implicitTLS is the port at which TLS begins at once (RFC 8314, section 3.3).
const implicitTLS = 465

type settings struct {
	host, username string
	port           int
	from, to       string
	password       func() string
	// plain: TLS is not wanted, where the server has none.
	plain bool
}

func readSettings(o connectors.Options) (settings, error) {
	var d struct {
		Server   string `json:"server"`
		From     string `json:"from"`
		To       string `json:"to"`
		Username string `json:"username"`
		Password string `json:"password"`
	}
	decoder := json.NewDecoder(bytes.NewReader(o.Settings))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return settings{}, errors.New("settings: must be an object with server, from, to, username and password")
	}
	s := settings{username: d.Username, password: func() string { return "" }}
	var wrong error
	s.host, s.port, wrong = readServer(d.Server)
	from, err := readAddress("from", d.From)
	wrong = errors.Join(wrong, err)
	to, err := readAddress("to", d.To)
	wrong = errors.Join(wrong, err)
	s.from, s.to = from, to
	if (d.Username == "") != (d.Password == "") {
		wrong = errors.Join(wrong, errors.New("password: stands with username; give both, or none"))
	}
	if d.Password != "" {
		password, err := o.Secret(d.Password)
		if err != nil {
			return s, errors.Join(wrong, fmt.Errorf("password: %w", err))
		}
		s.password = func() string { return password }
	}
	s.plain = o.AllowLoopback && isLoopback(s.host)
	return s, wrong
}

func readServer(text string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(text)
	if err == nil {
		port, err = strconv.Atoi(number)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("server: found %q; expected a host and a port, as smtp.example.com:587", text)
	}
	return host, port, nil
}

func readAddress(name, text string) (string, error) {
	address, err := netmail.ParseAddress(text)
	if err != nil || address.Address != text || strings.ContainsAny(text, " \t\r\n") {
		return "", fmt.Errorf("%s: found %q; expected an address, as ops@example.com", name, text)
	}
	return text, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
