package connectors

import (
	"context"
	"errors"
	"time"
)

// ErrNoKey: there is nothing to seal with what a platform gives.
var ErrNoKey = errors.New("there is no key to keep what platforms give with: set RAFFSYNC_SECRET_KEY, the same for all processes")

// ErrClaimLost: somebody else has renewed, replaced or dropped the connection meanwhile.
var ErrClaimLost = errors.New("the connection was changed by somebody else meanwhile")

// Connections keeps what one destination was given by its platform: tokens, sessions,
// what came with them. It is shared by all replicas, so that one of them renews and the
// others pick up what it got. Its methods may be called from many goroutines at once.
//
// Renewing goes in three steps: Claim, the request to the platform, then Save or
// Release. The claim is durable before the request goes out, so that a process that dies
// in between leaves a trace of it.
type Connections interface {
	// Load returns what is kept; a zero Version says that there is nothing. Without a key
	// it fails with [ErrNoKey].
	Load(ctx context.Context) (Connection, error)
	// Claim gives the right to renew the connection of this version, for so long, by the
	// store's clock. Where another has the right, or the version is another by now, the
	// claim is not granted.
	Claim(ctx context.Context, version int64, hold time.Duration) (Claim, error)
	// Save keeps what the claim's request brought, as a new version, which it returns,
	// and ends the claim. Version, Problem, Revoked and Lost of c say nothing. Where the
	// version was changed meanwhile it keeps nothing and fails with [ErrClaimLost].
	Save(ctx context.Context, claim Claim, c Connection) (int64, error)
	// Release ends a claim whose request brought nothing.
	Release(ctx context.Context, claim Claim, why Failure) error
}

// Connection is what is kept of a destination's authorisation.
type Connection struct {
	// Version rises with each Save, from 1.
	Version int64
	// Secret is what the platform gave, in the authenticator's own form. It is sealed at
	// rest, and never logged or shown.
	Secret []byte
	// ExpiresAt is when the access token or session ends; zero where that is not known.
	ExpiresAt time.Time
	// RenewBy is when the connection is lost unless it is renewed before (a refresh token
	// that ends unused), and WarnAt when people are to hear of it; zero where there is no
	// such time.
	RenewBy, WarnAt time.Time
	// Problem is why the last renewal brought nothing; empty where it did. Revoked: only
	// a person can mend it.
	Problem string
	Revoked bool
	// Lost is why the Secret that is kept cannot be read, for people; empty where it can.
	Lost string
}

// Claim is the right to renew a connection.
type Claim struct {
	Granted bool
	Version int64 // of the connection that is to be renewed
	ID      string
	// Interrupted is when a request was made for the same version whose answer was lost,
	// by a time-out or with its process: the platform may have carried it out. Zero: none.
	Interrupted time.Time
}

// Failure is why a renewal brought nothing.
type Failure struct {
	Problem string // for people, without secrets; empty where nothing is wrong
	Revoked bool   // only a person can mend it
	// Unknown: the request may have been carried out, and its answer was lost.
	Unknown bool
}
