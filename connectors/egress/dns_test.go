package egress_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// resolver is one that asks a DNS server on loopback. answer gives the addresses
// of a name; none means that it does not exist. Without answer the server is
// silent.
func resolver(t *testing.T, answer func(name string, kind dnsmessage.Type) []netip.Addr) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(packet)
			if err != nil {
				return
			}
			if answer == nil {
				continue
			}
			if reply, err := answerDNS(packet[:n], answer); err != nil {
				t.Error(err)
			} else {
				socket.WriteTo(reply, from)
			}
		}
	})
	// A look-up outlives its context until its own time-out; closing its sockets
	// ends it with the test.
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(func() {
		end()
		socket.Close()
		running.Wait()
	})
	return &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "udp", socket.LocalAddr().String())
			if err == nil {
				context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		},
	}
}

func answerDNS(query []byte, answer func(string, dnsmessage.Type) []netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	question := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	addresses := answer(question.Name.String(), question.Type)
	if addresses == nil {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, address := range addresses {
		var body dnsmessage.ResourceBody
		switch {
		case question.Type == dnsmessage.TypeA && address.Is4():
			body = &dnsmessage.AResource{A: address.As4()}
		case question.Type == dnsmessage.TypeAAAA && address.Is6():
			body = &dnsmessage.AAAAResource{AAAA: address.As16()}
		default:
			continue
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class},
			Body:   body,
		})
	}
	return m.Pack()
}
