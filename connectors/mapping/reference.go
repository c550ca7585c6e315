package mapping

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const (
	// minReference characters of 5 bits make 60 bits: among a million effects of a
	// destination, two are the same in one of two million cases.
	minReference = 12
	// maxDigest characters make 130 bits, past which more help nobody.
	maxDigest = 26
)

const shortReference = "reference() takes at least 12 characters: fewer would not keep documents apart"

// Crockford's alphabet: no I, L, O and U, which people mistake for others, and one case,
// since platforms search without regard to it.
var alphabet = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// reference derives a document's number from its effect. Where the effect's own name
// fits before twelve characters of the digest it stands there, for the people who read
// the number: invoice-1042-7K3Q9ZD2M4XA.
func reference(s *Scope, length int64) ref.Val {
	if length < minReference {
		return fail(shortReference)
	}
	if s.Effect == "" {
		return fail("reference() has no effect to derive from: the step names none")
	}
	hash := sha256.New()
	for _, part := range []string{"reference", s.Tenant, s.Destination, s.Effect} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		hash.Write(size[:])
		hash.Write([]byte(part))
	}
	digest := alphabet.EncodeToString(hash.Sum(nil))
	if name := plainName(s.Effect); name != "" && int64(len(name)+1+minReference) <= length {
		return types.String(name + "-" + digest[:minReference])
	}
	return types.String(digest[:min(length, maxDigest)])
}

// plainName is a name in letters, digits and single dashes.
func plainName(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(c rune) bool {
		return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	}), "-")
}
