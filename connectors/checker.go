package connectors

import (
	"context"
	"errors"
)

// ErrNoCheck says that nobody knows what to ask a platform whether its connection works.
var ErrNoCheck = errors.New("the destination does not say what to ask whether its connection works")

// Checker is what a [Destination] is besides where its platform can be asked whether the
// connection works: address, credentials, rights.
type Checker interface {
	// Check asks the platform and changes nothing there: at most one request besides
	// those that renew a credential. It returns by the context's deadline. Nil says that
	// the platform answered as it does when all is well; the error says for people what is
	// wrong, without secrets; [ErrNoCheck], that there is nothing to ask.
	Check(ctx context.Context) error
}
