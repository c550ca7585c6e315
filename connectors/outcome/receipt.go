package outcome

import (
	"net/http"
	"net/url"
)

// maxReceipt bounds a receipt's URL, in bytes. A longer one is left out: a part of it
// would be of another thing.
const maxReceipt = 500

// ReceiptURL is where the receiver says the thing that it made can be seen: the
// Location of its answer, if that can be followed from a browser; "" where it cannot.
func ReceiptURL(base *url.URL, h http.Header) string {
	said := h.Get("Location")
	if said == "" {
		return ""
	}
	location, err := base.Parse(said)
	switch {
	case err != nil || location.Host == "" || location.User != nil,
		location.Scheme != "https" && location.Scheme != "http":
		return ""
	}
	if address := location.String(); len(address) <= maxReceipt {
		return address
	}
	return ""
}
