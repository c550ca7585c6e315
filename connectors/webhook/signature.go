package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
)

// Standard Webhooks 1.0, "Signature scheme": a symmetric secret is 192 to 512 bits,
// as base64 behind whsec_.
const (
	secretPrefix   = "whsec_"
	minSecretBytes = 24
	maxSecretBytes = 64
)

// signer appends one signature of a message. Its key is in its closure, where nothing
// that prints a destination gets at it.
type signer func(to []byte, id, seconds string, body []byte) []byte

// signing is what signatures by one key are made with, one after the other.
type signing struct {
	hash.Hash
	text []byte
}

// newSigner signs by the symmetric scheme of Standard Webhooks 1.0, over
// id.timestamp.body. The standard's own library does the same but copies the body
// three times for it, which for the largest events is a megabyte and a half each.
//
// What the key makes of the hash is made once for each of the states in the pool: Reset
// comes back to it.
func newSigner(key []byte) signer {
	states := sync.Pool{New: func() any { return &signing{Hash: hmac.New(sha256.New, key)} }}
	return func(to []byte, id, seconds string, body []byte) []byte {
		s := states.Get().(*signing)
		defer states.Put(s)
		s.Reset()
		s.text = append(append(append(append(s.text[:0], id...), '.'), seconds...), '.')
		s.Write(s.text)
		s.Write(body)
		s.text = s.Sum(s.text[:0])
		return base64.StdEncoding.AppendEncode(append(to, "v1,"...), s.text)
	}
}

// parseSigningSecret gives the bytes of a whsec_ secret, and their base64. Its error
// continues a sentence that begins with the reference, and shows nothing of the
// secret.
func parseSigningSecret(text string) (key []byte, encoded string, err error) {
	// Files end in a line feed.
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), secretPrefix)
	if !ok {
		return nil, "", errors.New("does not begin with whsec_; expected whsec_ and base64 of 24 to 64 random bytes")
	}
	key, err = base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, "", errors.New("is not base64 after whsec_; expected base64 of 24 to 64 random bytes")
	}
	if len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return nil, "", fmt.Errorf("has %d bytes; a secret must have %d to %d", len(key), minSecretBytes, maxSecretBytes)
	}
	return key, encoded, nil
}
