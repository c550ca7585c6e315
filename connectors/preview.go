package connectors

import "net/http"

// Previewer is what a [Destination] is besides where it can show what [Destination.Send]
// would put on the wire.
type Previewer interface {
	// Preview shows the request, which this destination's Prepare made. It does no I/O.
	Preview(Request) Preview
}

// Preview is a request as people may see it. But for what [Destination.Send] adds, which
// is what depends on the time and on credentials, it is what goes on the wire, byte for
// byte.
type Preview struct {
	Method string
	// URL is without what is secret, and without what is only known when it is sent: the
	// name of that stands in its place, as in https://{auth.host}/api.
	URL string
	// Header is without secrets: "[redacted]" stands in their place.
	Header http.Header
	// Body may hold personal data, as the event does. It is not to be changed.
	Body []byte
}

// ReceiptNamer is what a [Planner] is besides where it knows what a step's receipt will hold
// before there is one, so that later steps can be shown with a marker in its place.
type ReceiptNamer interface {
	// ReceiptFields names the fields of the receipt of a step with this plan; nil stands for
	// a step without one.
	ReceiptFields(plan any) []string
}
