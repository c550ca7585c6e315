package connectors

import (
	"context"
	"time"
)

// Connections keeps what one destination was given by its platform: tokens, sessions,
// what came with them. It is shared by all replicas, so that one of them renews and the
// others pick up what it got. Its methods may be called from many goroutines at once.
//
// Renewing goes in three steps: Claim, the request to the platform, then Save or
// Release. The claim is durable before the request goes out, so that a process that dies
// in between leaves a trace of it.
type Connections interface {
	// Load returns what is kept; a zero Version says that there is nothing.
	Load(ctx context.Context) (Connection, error)
	// Claim gives the right to renew the connection of this version, for so long, by the
	// database's clock. Where another has the right, or the version is another by now,
	// the claim is not granted.
	Claim(ctx context.Context, version int64, hold time.Duration) (Claim, error)
	// Save keeps what the claim's request brought, as a new version, which it returns,
	// and ends the claim. It fails with an error, and keeps nothing, where the claim was
	// lost meanwhile.
	Save(ctx context.Context, claim Claim, c Connection) (int64, error)
	// Release ends the claim without anything new: the request surely brought nothing.
	// A problem that lasts (revoked) is kept with the connection, for people.
	Release(ctx context.Context, claim Claim, problem string, revoked bool) error
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
	// that ends unused); zero where there is no such time.
	RenewBy time.Time
	// Problem is why the connection does not work; empty where none is known. Revoked:
	// only a person who connects again can mend it.
	Problem string
	Revoked bool
}

// Claim is the right to renew a connection.
type Claim struct {
	Granted bool
	Version int64 // of the connection that is to be renewed
	ID      string
	// Interrupted is when an earlier claim of the same version was made that never came
	// to its end: its request may have been answered, and the answer lost. Zero: none.
	Interrupted time.Time
}
