package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTransport_TLS(t *testing.T) {
	cert, pool := certificate(t)
	_, address, stop, err := startBroker([]grpc.ServerOption{grpc.Creds(credentials.NewServerTLSFromCert(&cert))}, serve)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)

	t.Run("Verified", func(t *testing.T) {
		cfg := config(address)
		cfg.TLS = &tls.Config{RootCAs: pool}
		c := run(t, cfg)
		c.whole(t, c.send(t, 0, 10))
	})

	t.Run("UnknownAuthority", func(t *testing.T) {
		cfg := config(address)
		cfg.TLS = &tls.Config{}
		cfg.GiveUpAfter = 50 * time.Millisecond
		err := <-run(t, cfg).done
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTransport_InProcess(t *testing.T) {
	_, address := newBroker(t, serve)
	cfg := config("")
	cfg.Dial = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	c := run(t, cfg)
	c.whole(t, c.send(t, 0, 10))
}
