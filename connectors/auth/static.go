package auth

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// A fixed credential is added without asking anybody.
type fixed func(r *http.Request, now time.Time)

func (r *reader) apiKey(d document) fixed {
	key := r.secret("key", d.Key)
	p := r.place(d.Place, bearer)
	return func(request *http.Request, _ time.Time) { p.put(request, map[string]string{"token": key}) }
}

func (r *reader) basic(d document) fixed {
	user, password := r.text("username", d.Username), r.secret("password", d.Password)
	if strings.Contains(user, ":") {
		r.failf("username", "holds a colon, which no user of basic authentication may")
	}
	r.known = append(r.known, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	return func(request *http.Request, _ time.Time) { request.SetBasicAuth(user, password) }
}

var hashes = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// signed signs the time: what is signed is no part of the request, so that it cannot be
// used later, though it can be for another body.
func (r *reader) signed(d document) fixed {
	key := []byte(r.secret("secret", d.Secret))
	token := ""
	if d.Token != "" {
		token = r.secret("token", d.Token)
	}
	sum := hashes[r.oneOf("algorithm", d.Algorithm, "sha256", "sha1", "sha256", "sha512")]
	encode := base64.StdEncoding.EncodeToString
	if r.oneOf("encoding", d.Encoding, "base64", "base64", "hex") == "hex" {
		encode = hex.EncodeToString
	}
	format := r.timestamp(d.Timestamp, d.TimeZone)
	for name, header := range map[string]string{"timestamp_header": d.TimestampHeader, "signature_header": d.SignatureHeader} {
		if !httpguts.ValidHeaderFieldName(header) {
			r.failf(name, "is missing, or not a header's name")
		}
	}
	message := d.Message
	if message == "" {
		message = "{timestamp}"
	}
	return func(request *http.Request, now time.Time) {
		at := format(now)
		mac := hmac.New(sum, key)
		mac.Write([]byte(expand(message, map[string]string{
			"timestamp": at, "method": request.Method, "path": request.URL.EscapedPath(), "token": token,
		})))
		request.Header.Set(d.TimestampHeader, at)
		request.Header.Set(d.SignatureHeader, encode(mac.Sum(nil)))
		if token != "" {
			bearer.put(request, map[string]string{"token": token})
		}
	}
}

// timestamp is how a time is written: unix, unix_ms, rfc3339, or a pattern of dd, MM,
// yyyy, HH, mm and ss in a time zone.
func (r *reader) timestamp(format, zone string) func(time.Time) string {
	location, err := time.LoadLocation(zone) // UTC where there is none
	if err != nil {
		r.failf("timezone", "%q is not known; expected for example \"Asia/Jakarta\"", zone)
		location = time.UTC
	}
	switch format {
	case "", "unix":
		return func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	case "unix_ms":
		return func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
	case "rfc3339":
		return func(t time.Time) string { return t.In(location).Format(time.RFC3339) }
	}
	layout := strings.NewReplacer("dd", "02", "MM", "01", "yyyy", "2006", "HH", "15", "mm", "04", "ss", "05").Replace(format)
	if strings.Trim(layout, "0123456789/:-. T") != "" || layout == format {
		r.failf("timestamp", `%q is not known; expected unix, unix_ms, rfc3339, or a pattern such as "dd/MM/yyyy HH:mm:ss"`, format)
	}
	return func(t time.Time) string { return t.In(location).Format(layout) }
}
