package outbox

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Keys seal what platforms gave, so that a copy of the database is worth nothing without
// them: AES-256-GCM, bound to the connection's tenant and destination. The first seals;
// the others open what was sealed before a rotation.
type Keys struct {
	current string
	ciphers map[string]cipher.AEAD
	signing map[string][]byte // see [Store.Sign]
}

// ErrNoKey: there is nothing to seal with.
var ErrNoKey = errors.New("there is no key to keep what platforms give with: set RAFFSYNC_SECRET_KEY, the same for all processes")

// NewKey makes a key, in the form that [ParseKeys] reads.
func NewKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// ParseKeys reads one key or several, separated by commas or white space, the newest
// first: each 32 bytes in base64, as `openssl rand -base64 32` prints them. Its error
// repeats none of it.
func ParseKeys(text string) (*Keys, error) {
	k := &Keys{ciphers: make(map[string]cipher.AEAD), signing: make(map[string][]byte)}
	for i, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		key, err := base64.StdEncoding.DecodeString(word)
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("key %d is not 32 bytes in base64; make one with: openssl rand -base64 32", i+1)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(key)
		id := hex.EncodeToString(sum[:4])
		k.ciphers[id], k.signing[id] = aead, signingKey(key)
		if k.current == "" {
			k.current = id
		}
	}
	if k.current == "" {
		return nil, errors.New("there is no key in it; make one with: openssl rand -base64 32")
	}
	return k, nil
}

// bound is what a sealed text belongs to: moved to another row it does not open.
func bound(tenant string, destination int32) []byte {
	return fmt.Appendf(nil, "connection %d %s", destination, tenant)
}

func (k *Keys) seal(secret, belongs []byte) (id string, sealed []byte) {
	aead := k.ciphers[k.current]
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // 96 random bits: good for 2³² seals by one key
	return k.current, aead.Seal(nonce, nonce, secret, belongs)
}

// open returns why it can't in words for people.
func (k *Keys) open(id string, sealed, belongs []byte) (secret []byte, lost string) {
	aead, ok := k.ciphers[id]
	if !ok {
		return nil, fmt.Sprintf("what the platform gave is sealed with key %s, which this process does not have: give it in RAFFSYNC_SECRET_KEY, or connect again", id)
	}
	if len(sealed) < aead.NonceSize() {
		return nil, "what the platform gave is damaged: connect again"
	}
	secret, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], belongs)
	if err != nil {
		return nil, "what the platform gave is damaged, or belongs to another destination: connect again"
	}
	return secret, ""
}
