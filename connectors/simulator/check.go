package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Codes of refusals, in the answer's body and in the ledger.
const (
	codeSignature   = "bad_signature"
	codeKeyMissing  = "idempotency_key_missing"
	codeKeyReused   = "idempotency_key_reused"
	codeBody        = "body_incomplete"
	codeBodyTooLong = "body_too_long"
	codeJSON        = "invalid_json"
	codeUnknownSKU  = "unknown_sku"
)

// DefaultSKUs is what a strict platform knows where it is not told otherwise: the
// demo shop's menu and stock, except for LATTE-OAT, which is new there, and has the number
// ITM-42.
var DefaultSKUs = []string{
	"AMERICANO", "BEANS-GAYO-250", "BEANS-TORAJA-250", "CAPPUCCINO", "CUP-8OZ",
	"CUP-12OZ", "ES-KOPI-SUSU", "KLEPON-CAKE", "KOPI-TUBRUK", "LATTE",
	"ITM-42", "PISANG-GORENG", "ROTI-BAKAR", "TEH-TARIK", "WEDANG-JAHE",
}

// refusal is a 4xx with its reason, as the platform words it.
type refusal struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// reused is the refusal of draft-ietf-httpapi-idempotency-key-header, section 2.7,
// for a key that comes with another request than before.
var reused = &refusal{
	http.StatusUnprocessableEntity, codeKeyReused, "Idempotency-Key",
	"this idempotency key has been used with another body",
}

// check looks at everything of a request that does not depend on earlier ones.
func (p *Platform) check(header http.Header, r *Request, body []byte) *refusal {
	if header.Get("Authorization") != "Bearer "+p.secret && p.signature.Verify(body, header) != nil {
		return &refusal{http.StatusUnauthorized, codeSignature, "", "the signature does not verify, and the secret is no bearer token"}
	}
	if r.Key == "" {
		return &refusal{http.StatusBadRequest, codeKeyMissing, "Idempotency-Key", "an idempotency key is required"}
	}
	if p.behaviour == Strict {
		return p.checkSKUs(body)
	}
	return nil
}

// checkSKUs finds the first SKU that the platform does not know: of the record
// itself, as in a stock move, or of its lines, as in an order.
func (p *Platform) checkSKUs(body []byte) *refusal {
	type line struct {
		SKU string `json:"sku"`
	}
	var record struct {
		line
		Lines []line `json:"lines"`
	}
	if err := json.Unmarshal(body, &record); err != nil {
		return &refusal{http.StatusBadRequest, codeJSON, "", "the body is not a JSON object of the expected shape"}
	}
	unknown := func(field, sku string) *refusal {
		if sku == "" || p.skus[sku] {
			return nil
		}
		return &refusal{http.StatusUnprocessableEntity, codeUnknownSKU, field, fmt.Sprintf("no product with SKU %.80q", sku)}
	}
	if r := unknown("sku", record.SKU); r != nil {
		return r
	}
	for i, line := range record.Lines {
		if r := unknown(fmt.Sprintf("lines[%d].sku", i), line.SKU); r != nil {
			return r
		}
	}
	return nil
}
