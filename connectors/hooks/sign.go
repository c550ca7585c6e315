package hooks

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// Sign adds to h what the source's sender would: the signature of the body by the first
// secret, and the headers that are signed with it. id is the message's id where the
// scheme has one; a header that is there already is kept, so that it can be chosen.
func (s *Source) Sign(h http.Header, body []byte, id string, at time.Time) {
	v := &s.verifier
	if v.hash == nil {
		return
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	keep := func(name, value string) string {
		if name == "" {
			return value
		}
		if there := h.Get(name); there != "" {
			return there
		}
		h.Set(name, value)
		return value
	}
	stamp, id = keep(v.timestamp, stamp), keep(v.id, id)
	mac := hmac.New(v.hash, v.keys()[0])
	before, after := v.template.around(stamp, id)
	mac.Write(before)
	mac.Write(body)
	mac.Write(after)
	signature := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if v.encoding == hexadecimal {
		signature = hex.EncodeToString(mac.Sum(nil))
	}
	switch v.layout {
	case versioned:
		signature = "v1," + signature
	case pairs:
		signature = "t=" + stamp + ",v1=" + signature
	default:
		signature = v.prefix + signature
	}
	h.Set(v.header, signature)
}
