package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
)

func TestRouteOf(t *testing.T) {
	inProcess := func(context.Context) (net.Conn, error) { return nil, errors.New("unused") }
	for name, tc := range map[string]struct {
		cfg       Config
		target    string
		plaintext bool
		wrong     string
	}{
		"Loopback":        {Config{Target: "127.0.0.1:9090"}, "dns:///127.0.0.1:9090", true, ""},
		"Loopback6":       {Config{Target: "[::1]:9090"}, "dns:///[::1]:9090", true, ""},
		"Localhost":       {Config{Target: "localhost:9090"}, "dns:///localhost:9090", true, ""},
		"LoopbackWithTLS": {Config{Target: "127.0.0.1:9090", TLS: &tls.Config{}}, "dns:///127.0.0.1:9090", false, ""},
		"Remote":          {Config{Target: "broker.example:9090"}, "dns:///broker.example:9090", false, ""},
		"RemoteWithTLS":   {Config{Target: "broker.example:9090", TLS: &tls.Config{}}, "dns:///broker.example:9090", false, ""},
		"RemoteAllowed":   {Config{Target: "broker.example:9090", AllowPlaintext: true}, "dns:///broker.example:9090", true, ""},
		"EveryInterface":  {Config{Target: "0.0.0.0:9090"}, "dns:///0.0.0.0:9090", false, ""},
		"InProcess":       {Config{Dial: inProcess}, "passthrough:///in-process", true, ""},
		"TLSAndPlaintext": {Config{Target: "a.example:1", TLS: &tls.Config{}, AllowPlaintext: true}, "", false, "exclude each other"},
		"TLSAndDial":      {Config{Dial: inProcess, TLS: &tls.Config{}}, "", false, "exclude each other"},
		"Scheme":          {Config{Target: "dns:///broker.example"}, "", false, "host:port"},
		"NoHost":          {Config{Target: ":9090"}, "", false, "host:port"},
		"NoPort":          {Config{Target: "127.0.0.1:"}, "", false, "host:port"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := routeOf(tc.cfg)
			if r.target != tc.target || r.plaintext != tc.plaintext || (err != nil) != (tc.wrong != "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("got %+v, %v", r, err)
			}
			if (bearer{plaintext: r.plaintext}).RequireTransportSecurity() == r.plaintext {
				t.Error("gRPC would not hold to it")
			}
		})
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "localhost": true, "::ffff:127.0.0.1": true,
		"10.0.0.1": false, "0.0.0.0": false, "localhost.example": false, "127.0.0.1.example": false, "2130706433": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("%s: %t", host, got)
		}
	}
}

func TestDialLoopback_RefusesAnotherMachine(t *testing.T) {
	for _, address := range []string{"192.0.2.1:9090", "localhost:9090", "broker.example:9090"} {
		if conn, err := dialLoopback(t.Context(), address); err == nil {
			conn.Close()
			t.Errorf("dialled %s", address)
		}
	}
}
