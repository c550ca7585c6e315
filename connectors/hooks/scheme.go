package hooks

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"maps"
	"slices"
	"time"
)

// layout is how signatures stand in their header.
type layout int

const (
	// plain: one signature, or several with commas between, each behind the prefix.
	plain layout = iota
	// versioned: "v1,BASE64 v1,BASE64", as Standard Webhooks 1.0 has it.
	versioned
	// pairs: "t=1492774577,v1=HEX,v1=HEX", as Stripe has it.
	pairs
)

// scheme is how a sender signs.
type scheme struct {
	hash   func() hash.Hash // nil: nothing is signed
	layout layout
	// header has the signatures; timestamp and id name the headers that have the time and
	// the message's id, where those are signed too.
	header, timestamp, id string
	encoding              encoding
	prefix                string
	signed                string // what is signed, with ${body}, ${timestamp} and ${id}
	secret                secretForm
	window                time.Duration // 0: the time is not signed
	// event is the name of the expressions that hold where the user gives none.
	event string
}

// encoding of a signature. Base64 is read in both alphabets, padded or not.
type encoding string

const (
	hexadecimal encoding = "hex"
	base64Text  encoding = "base64"
)

// secretForm says how a secret's text becomes a key.
type secretForm string

const (
	secretText   secretForm = "text"
	secretBase64 secretForm = "base64" // behind whsec_, or without it
	secretHex    secretForm = "hex"
)

// defaultWindow is how old, or how far in the future, a signed time may be: what Stripe
// and Standard Webhooks take.
const defaultWindow = 5 * time.Minute

// unsigned is the scheme of who signs nothing.
const unsigned = "none"

// schemes by the name that a configuration gives. What is not seen in a vendor's own
// documentation is said in doc.go, and every field can be set otherwise.
var schemes = map[string]scheme{
	unsigned:      {},
	"hmac-sha1":   {hash: sha1.New, encoding: hexadecimal, signed: "${body}", secret: secretText},
	"hmac-sha256": {hash: sha256.New, encoding: hexadecimal, signed: "${body}", secret: secretText},
	"hmac-sha512": {hash: sha512.New, encoding: hexadecimal, signed: "${body}", secret: secretText},
	"standard-webhooks": {
		hash: sha256.New, layout: versioned, header: "webhook-signature", timestamp: "webhook-timestamp", id: "webhook-id",
		encoding: base64Text, signed: "${id}.${timestamp}.${body}", secret: secretBase64, window: defaultWindow, event: "standard-webhooks",
	},
	"takeapp": {
		hash: sha256.New, layout: versioned, header: "svix-signature", timestamp: "svix-timestamp", id: "svix-id",
		encoding: base64Text, signed: "${id}.${timestamp}.${body}", secret: secretBase64, window: defaultWindow, event: "takeapp",
	},
	"shopify": {
		hash: sha256.New, header: "x-shopify-hmac-sha256", encoding: base64Text, signed: "${body}", secret: secretText, event: "shopify",
	},
	"woocommerce": {
		hash: sha256.New, header: "x-wc-webhook-signature", encoding: base64Text, signed: "${body}", secret: secretText, event: "woocommerce",
	},
	"stripe": {
		hash: sha256.New, layout: pairs, header: "stripe-signature", encoding: hexadecimal, signed: "${timestamp}.${body}",
		secret: secretText, window: defaultWindow, event: "stripe",
	},
}

func schemeNames() []string { return slices.Sorted(maps.Keys(schemes)) }
