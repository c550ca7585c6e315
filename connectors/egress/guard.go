package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"code.dny.dev/ssrf"
)

var (
	loopback = []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("::1/128"),
	}
	// private is what AllowPrivate may name: RFC 1918, RFC 6598 (carrier-grade
	// NAT, also used by overlay networks), RFC 4193.
	private = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("fc00::/7"),
	}
	// never is what no allowance opens: link-local addresses, and the metadata
	// services that hand a machine's credentials to whoever can send a request
	// from it. Source: the clouds' documentation of their instance metadata.
	never = []netip.Prefix{
		netip.MustParsePrefix("169.254.0.0/16"),     // .169.254 of most clouds; .170.2 and .170.23 of AWS ECS and EKS; .42.42 of Scaleway; .0.23 of Tencent
		netip.MustParsePrefix("100.100.100.200/32"), // Alibaba, within carrier-grade NAT
		netip.MustParsePrefix("168.63.129.16/32"),   // Azure WireServer, a public address
		netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Classic
		netip.MustParsePrefix("fe80::/10"),          // link-local
		netip.MustParsePrefix("fd00:ec2::/32"),      // AWS: ::254, ::253, ::123; ECS and EKS: ::23
		netip.MustParsePrefix("fd20:ce::254/128"),   // Google
		netip.MustParsePrefix("fd00:42::42/128"),    // Scaleway
	}
)

// refusal says why the guard lets a target not through, and what would.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func refusef(format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...)}
}

// guard decides which targets may be reached. It is immutable.
type guard struct {
	public  *ssrf.Guardian // what https may reach
	allowed []netip.Prefix // what was allowed beyond public addresses
	http    bool
}

func newGuard(config Config) (*guard, error) {
	g := &guard{http: config.AllowHTTP}
	if config.AllowLoopback {
		g.allowed = append(g.allowed, loopback...)
	}
	for _, prefix := range config.AllowPrivate {
		if !within(prefix, private) {
			return nil, fmt.Errorf("egress: AllowPrivate names %s; each prefix must lie within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7", prefix)
		}
		g.allowed = append(g.allowed, prefix.Masked())
	}
	if g.http && len(g.allowed) == 0 {
		return nil, errors.New("egress: AllowHTTP serves only allowed addresses; set AllowLoopback or AllowPrivate with it, or leave it out")
	}
	var v4, v6 []netip.Prefix
	for _, prefix := range g.allowed {
		if prefix.Addr().Is4() {
			v4 = append(v4, prefix)
		} else {
			v6 = append(v6, prefix)
		}
	}
	g.public = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
	return g, nil
}

// target checks what can be known of a URL before DNS.
func (g *guard) target(u *url.URL) error {
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	switch {
	case u.User != nil:
		return refusef("the URL carries a user name; put credentials into the destination's auth settings")
	case u.Scheme != "https" && u.Scheme != "http":
		return refusef("the scheme is not https")
	case u.Scheme == "http" && !g.http:
		return refusef("plain http is not allowed; use https, or allow http for a loopback or private address")
	case err == nil && (addr.Is4In6() || addr.Zone() != ""):
		return refusef("%s is a disguised spelling of an address; write it plainly", addr)
	case err != nil && endsInNumber(host):
		return refusef("%s is no host name, but some resolvers read it as an address; write the address as a.b.c.d", host)
	case err != nil:
		return nil
	case u.Scheme == "http":
		return g.plainAddress(addr)
	}
	return g.address(addr)
}

// allow checks address, an IP and port, for https; it runs on the socket.
func (g *guard) allow(address string) error { return parsed(address, g.address) }

// allowPlain checks address for plain http.
func (g *guard) allowPlain(address string) error { return parsed(address, g.plainAddress) }

func parsed(address string, check func(netip.Addr) error) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return refusef("the socket's address cannot be read")
	}
	// A mapped address connects to the IPv4 address inside it, so that is judged.
	return check(ap.Addr().Unmap())
}

func (g *guard) plainAddress(addr netip.Addr) error {
	if err := g.address(addr); err != nil {
		return err
	}
	if !contains(g.allowed, addr) {
		return refusef("plain http to %s is not allowed; use https", addr)
	}
	return nil
}

func (g *guard) address(addr netip.Addr) error {
	if contains(never, addr) {
		return refusef("%s is a link-local or cloud metadata address and never allowed", addr)
	}
	if g.public.SafeAddr(addr) == nil {
		return nil
	}
	switch {
	case contains(loopback, addr):
		return refusef("%s is a loopback address; use a public one, or allow loopback in development", addr)
	case contains(private, addr):
		return refusef("%s is a private address; use a public one, or allow its prefix", addr)
	}
	return refusef("%s is not a public address; use a public one", addr)
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

func within(prefix netip.Prefix, parents []netip.Prefix) bool {
	for _, parent := range parents {
		if prefix.IsValid() && parent.Contains(prefix.Addr()) && prefix.Bits() >= parent.Bits() {
			return true
		}
	}
	return false
}

// endsInNumber reports whether the last label of host is a decimal, octal or
// hexadecimal number, which makes URL parsers and C resolvers take the whole for
// an IPv4 address (WHATWG URL, "ends in a number checker").
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last != "" && strings.Trim(last, "0123456789") == "" {
		return true
	}
	digits, hex := strings.CutPrefix(strings.ToLower(last), "0x")
	if !hex {
		return false
	}
	_, err := strconv.ParseUint(digits, 16, 64)
	return digits == "" || err == nil
}
