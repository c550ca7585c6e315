package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/egress"
)

// Store keeps what a platform gave, for all replicas. [Memory] is one for a process alone.
type Store = connectors.Connections

// Config is what an [Authenticator] is built from.
type Config struct {
	// Settings is the auth section of a destination, as JSON; the package documentation
	// says what each kind takes. Absent: the kind none.
	Settings json.RawMessage
	// Secret resolves a reference such as "env:NAME" or "file:PATH".
	Secret func(reference string) (string, error)
	// Store keeps tokens and sessions. Nil where there is no database: settings are then
	// checked, and kinds that need a connection answer AUTH_REVOKED.
	Store Store
	// Client is the way to token endpoints; nil for one of its own. Its MaxBody bounds
	// their answers: at least 64 KiB.
	Client *egress.Client
	// AllowLoopback permits http to this machine. For development.
	AllowLoopback bool
	// Now is the clock; time.Now where nil.
	Now func() time.Time
}

// Authenticator authorises requests to one platform. Its methods may be called from
// many goroutines at once.
type Authenticator interface {
	// Authorize adds what the platform wants to the request. It may renew first, and
	// waits for another goroutine or replica that does. What can't be had is an *[Error].
	Authorize(ctx context.Context, r *http.Request) error
	// Rejected is told that the platform refused the credential of this request, which
	// Authorize made: the next Authorize renews instead of using the same again. It asks
	// nobody and does not wait.
	Rejected(ctx context.Context, r *http.Request)
	// Variables is what came with the token: the host that serves this account, the id
	// of a session. It may renew first, as Authorize does.
	Variables(ctx context.Context) (map[string]string, error)
	// Secrets are the texts that are not to be recorded where a platform quotes them.
	Secrets() []string
}
