package acknowledge

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"raffsync/outbox"
)

// Path of the page.
const Path = "/acknowledge"

const (
	// purpose keeps the signature from serving elsewhere.
	purpose = "acknowledge"
	// longest is the most bytes of a token.
	longest = 2048
)

// Signer signs for the installation.
type Signer interface {
	Sign(purpose string, message []byte) []byte
	Signed(purpose string, message, signature []byte) bool
}

// Claim is what a link says.
type Claim struct {
	Tenant    string
	Exception int64
	Address   string // that the notice was sent to, by the name of its destination
	Expires   time.Time
	For       time.Duration // how long it acknowledges for, in whole seconds
}

var (
	errForged  = errors.New("the link is not one of this installation")
	errExpired = errors.New("the link has expired")
)

// Link is the address of the page for one exception and one reader; "" where the
// installation has no key to sign with.
func Link(s Signer, base string, c Claim) string {
	message := encode(c)
	signature := s.Sign(purpose, message)
	if signature == nil {
		return ""
	}
	token := base64.RawURLEncoding.EncodeToString(message) + "." + base64.RawURLEncoding.EncodeToString(signature)
	return strings.TrimSuffix(base, "/") + Path + "?t=" + url.QueryEscape(token)
}

// encode separates by a byte that is in no name.
func encode(c Claim) []byte {
	return []byte(strings.Join([]string{
		c.Tenant, strconv.FormatInt(c.Exception, 10), c.Address, strconv.FormatInt(c.Expires.Unix(), 10), strconv.FormatInt(int64(c.For/time.Second), 10),
	}, "\x00"))
}

// read gives what a token says, once its signature is found right.
func read(s Signer, token string, now time.Time) (c Claim, err error) {
	first, second, ok := strings.Cut(token, ".")
	message, err := base64.RawURLEncoding.Strict().DecodeString(first)
	signature, wrong := base64.RawURLEncoding.Strict().DecodeString(second)
	if !ok || len(token) > longest || err != nil || wrong != nil || !s.Signed(purpose, message, signature) {
		return c, errForged
	}
	parts := strings.Split(string(message), "\x00")
	if len(parts) == 4 { // of a version that knew no other
		parts = append(parts, strconv.Itoa(int(outbox.DefaultAcknowledgeFor/time.Second)))
	}
	if len(parts) != 5 {
		return c, errForged
	}
	exception, err := strconv.ParseInt(parts[1], 10, 64)
	expires, wrong := strconv.ParseInt(parts[3], 10, 64)
	lasts, odd := strconv.ParseInt(parts[4], 10, 32)
	if err != nil || wrong != nil || odd != nil {
		return c, errForged
	}
	c = Claim{parts[0], exception, parts[2], time.Unix(expires, 0), time.Duration(lasts) * time.Second}
	if !now.Before(c.Expires) {
		return c, errExpired
	}
	return c, nil
}
