package outbox

import (
	"crypto/hmac"
	"crypto/sha256"
)

// signingKey is derived from one that seals: neither tells of the other.
func signingKey(key []byte) []byte { return mac(key, "raffsync signatures", nil) }

func mac(key []byte, purpose string, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write(message)
	return h.Sum(nil)
}

// Sign is an HMAC-SHA256 of a message for a purpose, by the newest of the installation's
// keys; nil where there are none.
func (s *Store) Sign(purpose string, message []byte) []byte {
	if s.config.Keys == nil {
		return nil
	}
	return mac(s.config.Keys.signing[s.config.Keys.current], purpose, message)
}

// Signed tells whether a signature is one of [Store.Sign], by any of the keys.
func (s *Store) Signed(purpose string, message, signature []byte) bool {
	if s.config.Keys == nil {
		return false
	}
	for _, key := range s.config.Keys.signing {
		if hmac.Equal(mac(key, purpose, message), signature) {
			return true
		}
	}
	return false
}
